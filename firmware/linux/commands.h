// commands.h - one function a word of the command line; argv[0] is that word.
#pragma once

#include <stdbool.h>

enum {
    PTL_EXIT_OK = 0,
    PTL_EXIT_NO = 1,        // the answer is no: not joined, refused, damaged
    PTL_EXIT_USAGE = 2,     // the call or the configuration is wrong
    PTL_EXIT_UNREACHED = 3, // no agent answers
};

int ptl_cmd_run(int argc, char **argv);
int ptl_cmd_check_config(int argc, char **argv);
int ptl_cmd_emit(int argc, char **argv);
int ptl_cmd_status(int argc, char **argv);
int ptl_cmd_wait(int argc, char **argv);
int ptl_cmd_journal(int argc, char **argv);
int ptl_cmd_sql(int argc, char **argv);
int ptl_cmd_demo(int argc, char **argv);

// Prints the help and says yes where the arguments ask for it.
bool ptl_help_asked(int argc, char **argv, const char *text);
