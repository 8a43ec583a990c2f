// config_check.h - rules between settings, and what follows from them.
#pragma once

#include "config.h"

// Normalises the URL, reads the secrets, finds the directories, and reports every rule that is
// broken.
void ptl_config_check(struct ptl_config *c, struct ptl_config_report *report);
