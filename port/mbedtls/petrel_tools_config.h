// mbedTLS 3.6 for the tools: what the agent has, and a server with a test CA.
#pragma once

#include "petrel_agent_config.h"

#define MBEDTLS_SSL_SRV_C
#define MBEDTLS_X509_CREATE_C
#define MBEDTLS_X509_CRT_WRITE_C
#define MBEDTLS_PK_WRITE_C
#define MBEDTLS_PEM_WRITE_C
#define MBEDTLS_ERROR_C
#define MBEDTLS_FS_IO
