// cmd_run.c - `petrel run` and `petrel check-config`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "commands.h"

extern char **environ;

static const char run_help[] = "petrel run [-c FILE]\n"
                               "\n"
                               "Runs the agent in the foreground until SIGTERM, SIGINT or, with "
                               "[inputs] stdin = yes, the end of\n"
                               "standard input; then sends what is held, spills the rest and "
                               "exits. Settings come from FILE and\n"
                               "from the environment: SUPABASE_URL, SUPABASE_KEY, and "
                               "PETREL_<SECTION>_<KEY> for every key of\n"
                               "docs/config.md. `petrel check-config FILE` explains them.\n"
                               "\n"
                               "Exit status: 0 everything held is safe, 1 events were lost with "
                               "the RAM, 2 the agent could not\n"
                               "start.\n";

static const char check_help[] =
    "petrel check-config [FILE]\n"
    "\n"
    "Reads FILE and the environment as `petrel run` would and says what is wrong, where, what is\n"
    "allowed and how to mend it; then what the settings can cost in messages a month.\n"
    "\n"
    "Exit status: 0 the agent would start, 2 it would not.\n";

bool ptl_help_asked(int argc, char **argv, const char *text)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(text, stdout);
            return true;
        }
    }
    return false;
}

static void say(void *ctx, enum ptl_config_level level, const char *text)
{
    static const char *const names[] = {"note", "warning", "error"};
    fprintf(ctx, "%s: %s\n", names[level], text);
}

int ptl_cmd_run(int argc, char **argv)
{
    // Static: tens of kilobytes that live as long as the process.
    static struct ptl_config config;
    static struct ptl_app app;
    const char *file = NULL;
    if (ptl_help_asked(argc, argv, run_help)) {
        return PTL_EXIT_OK;
    }
    if (argc == 3 && strcmp(argv[1], "-c") == 0) {
        file = argv[2];
    } else if (argc != 1) {
        fputs(run_help, stderr);
        return PTL_EXIT_USAGE;
    }
    struct ptl_config_report report = {.ctx = stderr, .say = say};
    if (!ptl_config_load(&config, file, environ, &report)) {
        fprintf(stderr, "petrel: not started: %u error%s in the configuration\n", report.errors,
                report.errors == 1 ? "" : "s");
        return PTL_EXIT_USAGE;
    }
    ptl_log_init((enum ptl_log_level)config.agent.log_level);
    return ptl_app_run(&app, &config);
}

int ptl_cmd_check_config(int argc, char **argv)
{
    static struct ptl_config config;
    if (ptl_help_asked(argc, argv, check_help)) {
        return PTL_EXIT_OK;
    }
    if (argc > 3 || (argc == 3 && strcmp(argv[1], "-c") != 0)) {
        fputs(check_help, stderr);
        return PTL_EXIT_USAGE;
    }
    const char *file = argc > 1 ? argv[argc - 1] : NULL;
    struct ptl_config_report report = {.ctx = stdout, .say = say};
    if (!ptl_config_load(&config, file, environ, &report)) {
        printf("%u error%s: the agent would not start\n", report.errors,
               report.errors == 1 ? "" : "s");
        return PTL_EXIT_USAGE;
    }
    char text[1024];
    ptl_config_estimate(&config, text, sizeof(text));
    printf("server: %s%s:%u%s\n", config.server.tls ? "wss://" : "ws://", config.server.host,
           config.server.port, config.server.path);
    printf("journal: %s\nlocal socket: %s\n%sfine: the agent would start\n",
           config.journal.enabled ? config.journal.file : "none", config.inputs.seqpacket, text);
    return PTL_EXIT_OK;
}
