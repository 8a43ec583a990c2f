// certs.h - a test CA and server certificates, good and bad ones.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct ptl_rt_cert_request {
    const char *dir;          // gets ca.pem, cert.pem, key.pem (0600), and ca-key.pem (0600)
    const char *ca_dir;       // sign with the CA of this directory; NULL: with the one in dir
    const char *const *hosts; // names and addresses of the leaf; none: the local ones
    size_t host_count;
    const char *not_before, *not_after; // YYYYMMDDhhmmss in UTC; NULL: a day ago, ten years on
};

// Makes the CA where there is none, then the leaf. False after saying why on stderr.
bool ptl_rt_certs_make(const struct ptl_rt_cert_request *request);

// True if `dir` has a certificate and its key already.
bool ptl_rt_certs_present(const char *dir);
