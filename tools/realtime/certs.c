// certs.c - P-256 certificates with mbedTLS. For tests and demos on one machine only.

#include "certs.h"

#include <arpa/inet.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"

enum { PATH_BYTES = 4096, PEM_BYTES = 8192, NAMES_MAX = 16, NAME_BYTES = 256 };

static const char ca_subject[] = "CN=Petrel test CA,O=Petrel test";
static const char *const local_hosts[] = {"localhost", "realtime-dev.localhost", "127.0.0.1",
                                          "::1"};

struct maker {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_pk_context ca_key, leaf_key;
    char not_before[16], not_after[16];
};

static bool failed(const char *what, int code)
{
    fprintf(stderr, "petrel-realtime: %s: mbedTLS error -0x%04x\n", what, (unsigned)-code);
    return false;
}

static void join_path(char out[PATH_BYTES], const char *dir, const char *name)
{
    snprintf(out, PATH_BYTES, "%s/%s", dir, name);
}

static bool save_pem(const char *dir, const char *name, const unsigned char *pem)
{
    char path[PATH_BYTES];
    join_path(path, dir, name);
    return ptl_rt_file_write_private(path, pem, strlen((const char *)pem));
}

// A certificate is public: unlike a key it may be read by anyone.
static bool save_certificate(const char *dir, const char *name, const unsigned char *pem)
{
    char path[PATH_BYTES];
    join_path(path, dir, name);
    return save_pem(dir, name, pem) && chmod(path, 0644) == 0;
}

static bool make_key(struct maker *m, mbedtls_pk_context *key, const char *dir, const char *name)
{
    unsigned char pem[PEM_BYTES];
    int rc = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (rc == 0) {
        rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key),
                                 mbedtls_ctr_drbg_random, &m->random);
    }
    if (rc == 0) {
        rc = mbedtls_pk_write_key_pem(key, pem, sizeof pem);
    }
    return rc == 0 ? save_pem(dir, name, pem) : failed("making a key", rc);
}

static int set_serial(struct maker *m, mbedtls_x509write_cert *crt)
{
    unsigned char serial[16];
    int rc = mbedtls_ctr_drbg_random(&m->random, serial, sizeof serial);
    serial[0] = (unsigned char)((serial[0] & 0x7fu) | 0x40u); // positive, and no leading zero
    return rc != 0 ? rc : mbedtls_x509write_crt_set_serial_raw(crt, serial, sizeof serial);
}

static bool write_ca(struct maker *m, const char *dir)
{
    unsigned char pem[PEM_BYTES];
    mbedtls_x509write_cert crt;
    mbedtls_x509write_crt_init(&crt);
    mbedtls_x509write_crt_set_version(&crt, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&crt, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&crt, &m->ca_key);
    mbedtls_x509write_crt_set_issuer_key(&crt, &m->ca_key);
    int rc = mbedtls_x509write_crt_set_subject_name(&crt, ca_subject);
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_issuer_name(&crt, ca_subject);
    rc = rc != 0 ? rc : set_serial(m, &crt);
    rc =
        rc != 0 ? rc : mbedtls_x509write_crt_set_validity(&crt, "20200101000000", "20491231235959");
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_basic_constraints(&crt, 1, 0);
    rc = rc != 0 ? rc
                 : mbedtls_x509write_crt_set_key_usage(&crt, MBEDTLS_X509_KU_KEY_CERT_SIGN |
                                                                 MBEDTLS_X509_KU_CRL_SIGN);
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_subject_key_identifier(&crt);
    rc = rc != 0 ? rc
                 : mbedtls_x509write_crt_pem(&crt, pem, sizeof pem, mbedtls_ctr_drbg_random,
                                             &m->random);
    mbedtls_x509write_crt_free(&crt);
    return rc == 0 ? save_certificate(dir, "ca.pem", pem) : failed("making the CA", rc);
}

static bool load_ca_key(struct maker *m, const char *ca_dir)
{
    char path[PATH_BYTES];
    join_path(path, ca_dir, "ca-key.pem");
    int rc = mbedtls_pk_parse_keyfile(&m->ca_key, path, NULL, mbedtls_ctr_drbg_random, &m->random);
    return rc == 0 || failed(path, rc);
}

struct alt_names {
    mbedtls_x509_san_list list[NAMES_MAX];
    unsigned char bytes[NAMES_MAX][NAME_BYTES]; // an address, or a name with its NUL
};

static void add_alt_name(struct alt_names *names, size_t i, const char *host)
{
    mbedtls_x509_san_list *entry = &names->list[i];
    mbedtls_x509_buf *name = &entry->node.san.unstructured_name;
    entry->node.type = MBEDTLS_X509_SAN_IP_ADDRESS;
    name->p = names->bytes[i];
    if (inet_pton(AF_INET, host, name->p) == 1) {
        name->len = 4;
    } else if (inet_pton(AF_INET6, host, name->p) == 1) {
        name->len = 16;
    } else {
        entry->node.type = MBEDTLS_X509_SAN_DNS_NAME;
        snprintf((char *)name->p, NAME_BYTES, "%s", host);
        name->len = strlen((char *)name->p);
    }
    if (i > 0) {
        names->list[i - 1].next = entry;
    }
}

static bool write_leaf(struct maker *m, const struct ptl_rt_cert_request *r)
{
    const char *const *hosts = r->host_count > 0 ? r->hosts : local_hosts;
    size_t count = r->host_count > 0 ? r->host_count : sizeof local_hosts / sizeof local_hosts[0];
    struct alt_names names;
    char subject[300];
    unsigned char pem[PEM_BYTES];
    memset(&names, 0, sizeof names);
    for (size_t i = 0; i < count && i < NAMES_MAX; i++) {
        add_alt_name(&names, i, hosts[i]);
    }
    snprintf(subject, sizeof subject, "CN=%s,O=Petrel test", hosts[0]);
    mbedtls_x509write_cert crt;
    mbedtls_x509write_crt_init(&crt);
    mbedtls_x509write_crt_set_version(&crt, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&crt, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&crt, &m->leaf_key);
    mbedtls_x509write_crt_set_issuer_key(&crt, &m->ca_key);
    int rc = mbedtls_x509write_crt_set_subject_name(&crt, subject);
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_issuer_name(&crt, ca_subject);
    rc = rc != 0 ? rc : set_serial(m, &crt);
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_validity(&crt, m->not_before, m->not_after);
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_basic_constraints(&crt, 0, -1);
    rc =
        rc != 0 ? rc : mbedtls_x509write_crt_set_key_usage(&crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_authority_key_identifier(&crt);
    rc = rc != 0 ? rc : mbedtls_x509write_crt_set_subject_alternative_name(&crt, names.list);
    rc = rc != 0 ? rc
                 : mbedtls_x509write_crt_pem(&crt, pem, sizeof pem, mbedtls_ctr_drbg_random,
                                             &m->random);
    mbedtls_x509write_crt_free(&crt);
    return rc == 0 ? save_certificate(r->dir, "cert.pem", pem)
                   : failed("making the certificate (are the times YYYYMMDDhhmmss?)", rc);
}

static void set_times(struct maker *m, const struct ptl_rt_cert_request *r)
{
    time_t begin = time(NULL) - (time_t)24 * 3600;
    struct tm from, until;
    gmtime_r(&begin, &from);
    until = from;
    until.tm_year += 10;
    until.tm_mday = until.tm_mday > 28 ? 28 : until.tm_mday; // not every year has a 29 February
    strftime(m->not_before, sizeof m->not_before, "%Y%m%d%H%M%S", &from);
    strftime(m->not_after, sizeof m->not_after, "%Y%m%d%H%M%S", &until);
    if (r->not_before != NULL) {
        snprintf(m->not_before, sizeof m->not_before, "%s", r->not_before);
    }
    if (r->not_after != NULL) {
        snprintf(m->not_after, sizeof m->not_after, "%s", r->not_after);
    }
}

static bool copy_ca(const char *from_dir, const char *to_dir)
{
    char path[PATH_BYTES];
    unsigned char pem[PEM_BYTES];
    join_path(path, from_dir, "ca.pem");
    FILE *file = fopen(path, "r");
    size_t len = file != NULL ? fread(pem, 1, sizeof pem - 1, file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    if (len == 0) {
        fprintf(stderr, "petrel-realtime: %s: no CA certificate there\n", path);
        return false;
    }
    pem[len] = '\0';
    return save_certificate(to_dir, "ca.pem", pem);
}

static bool have_ca(struct maker *m, const struct ptl_rt_cert_request *r)
{
    char path[PATH_BYTES];
    join_path(path, r->dir, "ca-key.pem");
    if (r->ca_dir != NULL) {
        return load_ca_key(m, r->ca_dir) && copy_ca(r->ca_dir, r->dir);
    }
    if (access(path, F_OK) == 0) {
        return load_ca_key(m, r->dir);
    }
    return make_key(m, &m->ca_key, r->dir, "ca-key.pem") && write_ca(m, r->dir);
}

bool ptl_rt_certs_present(const char *dir)
{
    char cert[PATH_BYTES], key[PATH_BYTES];
    join_path(cert, dir, "cert.pem");
    join_path(key, dir, "key.pem");
    return access(cert, F_OK) == 0 && access(key, F_OK) == 0;
}

bool ptl_rt_certs_make(const struct ptl_rt_cert_request *r)
{
    struct maker m;
    memset(&m, 0, sizeof m);
    (void)mkdir(r->dir, 0700); // what goes wrong shows with the first file
    set_times(&m, r);
    mbedtls_entropy_init(&m.entropy);
    mbedtls_ctr_drbg_init(&m.random);
    mbedtls_pk_init(&m.ca_key);
    mbedtls_pk_init(&m.leaf_key);
    int rc = mbedtls_ctr_drbg_seed(&m.random, mbedtls_entropy_func, &m.entropy, NULL, 0);
    bool ok = rc == 0 ? have_ca(&m, r) && make_key(&m, &m.leaf_key, r->dir, "key.pem") &&
                            write_leaf(&m, r)
                      : failed("random generator", rc);
    mbedtls_pk_free(&m.leaf_key);
    mbedtls_pk_free(&m.ca_key);
    mbedtls_ctr_drbg_free(&m.random);
    mbedtls_entropy_free(&m.entropy);
    return ok;
}
