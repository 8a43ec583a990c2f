// cmd_demo.c - `petrel demo`: the demo needs a server, a fault proxy and a collector, which are
// tools of the source tree; this finds the tree and hands over.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

static const char help[] =
    "petrel demo [--json] [--seconds N]\n"
    "\n"
    "Shows the agent against a server on this machine whose link fails: builds what it needs in "
    "the\n"
    "source tree and runs it there (tools/dev demo). The tree is looked for in PETREL_SOURCE, or,\n"
    "without it, in the present directory and those above.\n";

static bool has_demo(const char *dir)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof(path), "%s/tools/dev", dir) < (int)sizeof(path) &&
           access(path, X_OK) == 0 &&
           snprintf(path, sizeof(path), "%s/tools/demo/demo", dir) < (int)sizeof(path) &&
           access(path, R_OK) == 0;
}

// The tree's directory into `out`; false: there is none.
static bool tree_find(char out[PATH_MAX])
{
    const char *named = getenv("PETREL_SOURCE");
    if (named != NULL && named[0] != '\0') {
        return snprintf(out, PATH_MAX, "%s", named) < PATH_MAX && has_demo(out);
    }
    if (getcwd(out, PATH_MAX) == NULL) {
        return false;
    }
    while (!has_demo(out[0] == '\0' ? "/" : out)) {
        char *slash = strrchr(out, '/');
        if (slash == NULL || out[1] == '\0') {
            return false;
        }
        *slash = '\0';
    }
    return true;
}

int ptl_cmd_demo(int argc, char **argv)
{
    char dir[PATH_MAX];
    char program[] = "tools/dev";
    char word[] = "demo";
    char *args[16] = {program, word};
    if (ptl_help_asked(argc, argv, help)) {
        return PTL_EXIT_OK;
    }
    if (argc > 10) {
        fputs(help, stderr);
        return PTL_EXIT_USAGE;
    }
    for (int i = 1; i < argc; i++) {
        args[i + 1] = argv[i];
    }
    if (!tree_find(dir)) {
        const char *named = getenv("PETREL_SOURCE");
        bool by_name = named != NULL && named[0] != '\0';
        fprintf(stderr,
                "petrel: the demo is part of the source tree, and %s%s: run petrel demo inside a "
                "checkout of Petrel, or set PETREL_SOURCE to one\n",
                by_name ? named : "neither the present directory nor one above it",
                by_name ? " holds no tools/dev and tools/demo" : " holds one");
        return PTL_EXIT_USAGE;
    }
    if (chdir(dir) != 0) {
        fprintf(stderr, "petrel: %s: %s\n", dir, strerror(errno));
        return PTL_EXIT_USAGE;
    }
    execv(program, args);
    fprintf(stderr, "petrel: %s/tools/dev: %s\n", dir, strerror(errno));
    return PTL_EXIT_USAGE;
}
