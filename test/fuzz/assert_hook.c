// assert_hook.c - a broken invariant ends the fuzzer's run.
#include <stdio.h>
#include <stdlib.h>

#include "ptl_base.h"

void ptl_assert_fail(const char *file, int line)
{
    fprintf(stderr, "%s:%d: PTL_ASSERT\n", file, line);
    abort();
}
