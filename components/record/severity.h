// severity.h - inside record only: the names of enum ptl_severity on the wire.
#pragma once

#include "ptl_base.h"

#define PTL_SEVERITY_NAME_CAP 9
extern const char ptl_severity_names[PTL_SEVERITIES][PTL_SEVERITY_NAME_CAP];
