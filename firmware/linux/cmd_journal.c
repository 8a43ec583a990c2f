// cmd_journal.c - `petrel journal info|verify FILE`.
#include <stdio.h>

#include "commands.h"

int ptl_cmd_journal(int argc, char **argv)
{
    static const char help[] =
        "petrel journal info FILE     what a journal holds\n"
        "petrel journal verify FILE   read every entry and check it\n"
        "\n"
        "Read only; the agent may be running. Exit status of verify: 0 whole, "
        "1 damaged.\n";
    if (ptl_help_asked(argc, argv, help)) {
        return PTL_EXIT_OK;
    }
    fputs("petrel: not in this build yet\n", stderr);
    return PTL_EXIT_USAGE;
}
