// main.c - the command line: one binary, a word says what it does.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

static const char usage[] =
    "petrel " PETREL_VERSION " - telemetry agent: events over TLS to Supabase Realtime\n"
    "\n"
    "  petrel run [-c FILE]              run the agent (settings also from the environment)\n"
    "  petrel check-config [FILE]        read a configuration and say what is wrong and what it "
    "costs\n"
    "  petrel emit TYPE [key=value...]   hand one event to the running agent\n"
    "  petrel status [--json] [--check]  ask the running agent how it is\n"
    "  petrel wait --joined              wait until the running agent delivers\n"
    "  petrel journal info|verify FILE   look into a journal (read only)\n"
    "  petrel sql                        print the policies that the private channels need\n"
    "  petrel demo [--json]              show it against a local server (in the source tree)\n"
    "  petrel COMMAND --help             more on each\n"
    "  petrel --version\n";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", ptl_cmd_run},   {"check-config", ptl_cmd_check_config},
    {"emit", ptl_cmd_emit}, {"status", ptl_cmd_status},
    {"wait", ptl_cmd_wait}, {"journal", ptl_cmd_journal},
    {"sql", ptl_cmd_sql},   {"demo", ptl_cmd_demo},
};

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs(usage, stderr);
        return PTL_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("petrel " PETREL_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "petrel: there is no command %s; petrel --help lists them\n", argv[1]);
    return PTL_EXIT_USAGE;
}
