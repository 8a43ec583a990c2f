// json_number.c - whether a number fits a double, by its decimal digits alone: no floating point,
// so the verdict is the same on every machine.
//
// A double is finite where the value is below 2^1024 - 2^970 (the middle between the largest double
// and the next that would follow, which rounds to infinity), and not zero where it is above 2^-1075
// (the middle between zero and the smallest subnormal, which rounds to zero). A number near a limit
// has at most 60 significant digits in PTL_JSON_NUMBER_MAX characters, since its exponent takes at
// least four; both limits have hundreds, so a tie cannot happen and the first 60 decide.
#include "json_internal.h"

#include <string.h>

#define LIMIT_DIGITS 60

// 1.797...e308 and 2.470...e-324
static const char limit_high[] = "179769313486231580793728971405303415079934132710037826936173";
static const char limit_low[] = "247032822920623272088284396434110686182529901307162382212792";
#define HIGH_EXPONENT 308
#define LOW_EXPONENT  (-324)

_Static_assert(sizeof(limit_high) == LIMIT_DIGITS + 1, "digits of the upper limit");
_Static_assert(sizeof(limit_low) == LIMIT_DIGITS + 1, "digits of the lower limit");

// Beyond any exponent that leading or trailing zeros of 64 characters could bring back.
#define EXPONENT_SATURATED 100000

struct decimal {
    uint8_t digits[PTL_JSON_NUMBER_MAX]; // significant ones, the first not 0
    size_t count;
    int32_t exponent; // of the first digit
};

static bool is_exponent_mark(uint8_t c)
{
    return c == 'e' || c == 'E';
}

// Reads sign, digits and fraction; returns what is left of the text.
static const uint8_t *read_digits(const uint8_t *p, const uint8_t *end, struct decimal *d)
{
    int32_t whole = 0;   // significant digits before the point
    int32_t leading = 0; // zeros between the point and the first significant digit
    bool fraction = false;
    for (p += *p == '-'; p < end && !is_exponent_mark(*p); p++) {
        if (*p == '.') {
            fraction = true;
        } else if (*p == '0' && d->count == 0) {
            leading += fraction;
        } else {
            d->digits[d->count++] = *p;
            whole += !fraction;
        }
    }
    d->exponent = whole > 0 ? whole - 1 : -leading - 1;
    return p;
}

static int32_t read_exponent(const uint8_t *p, const uint8_t *end)
{
    if (p == end) {
        return 0;
    }
    PTL_ASSERT(is_exponent_mark(*p));
    p++;
    bool negative = *p == '-';
    p += *p == '-' || *p == '+';
    int32_t exponent = 0;
    for (; p < end; p++) {
        exponent = exponent * 10 + (*p - '0');
        if (exponent > EXPONENT_SATURATED) {
            exponent = EXPONENT_SATURATED;
        }
    }
    return negative ? -exponent : exponent;
}

static bool above(const struct decimal *d, const char *limit)
{
    PTL_ASSERT(d->count <= LIMIT_DIGITS);
    // Where the digits there are agree, the limit goes on and is the larger one.
    return memcmp(d->digits, limit, d->count) > 0;
}

bool ptl_json_number_in_range(struct ptl_span number)
{
    PTL_ASSERT(number.len >= 1);
    PTL_ASSERT(number.len <= PTL_JSON_NUMBER_MAX);
    struct decimal d = {.count = 0};
    const uint8_t *end = number.ptr + number.len;
    const uint8_t *rest = read_digits(number.ptr, end, &d);
    if (d.count == 0) {
        return true; // zero, whatever its exponent
    }
    int32_t exponent = d.exponent + read_exponent(rest, end);
    if (exponent >= HIGH_EXPONENT) {
        return exponent == HIGH_EXPONENT && !above(&d, limit_high);
    }
    if (exponent <= LOW_EXPONENT) {
        return exponent == LOW_EXPONENT && above(&d, limit_low);
    }
    return true;
}
