// rfc3339.c - time stamps as text (RFC 3339), proleptic Gregorian calendar, no leap seconds.
//
// Days are counted in years that begin in March, so that the leap day is a year's last: day of the
// era, year of the era and month come by division alone (Hinnant, "chrono-compatible low-level date
// algorithms", 2013).
#include "ptl_bytes.h"

#define MS_PER_DAY      INT64_C(86400000)
#define DAYS_PER_ERA    146097u // 400 years
#define DAYS_TO_1970    719468u // from 0000-03-01
#define UNIX_MS_OF_2200 INT64_C(7258118400000)
#define UNIX_MS_OF_10K  INT64_C(253402300800000)

// Two digits, the same for every value below 100.
static uint8_t *put2(uint8_t *p, uint32_t value)
{
    uint32_t tens = value / 10;
    p[0] = (uint8_t)('0' + tens);
    p[1] = (uint8_t)('0' + (value - tens * 10));
    return p + 2;
}

static uint8_t *put_date(uint8_t *p, uint32_t days_since_1970)
{
    uint32_t days = days_since_1970 + DAYS_TO_1970;
    uint32_t era = days / DAYS_PER_ERA;
    uint32_t day_of_era = days - era * DAYS_PER_ERA;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    uint32_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint32_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    PTL_ASSERT(year >= 1970 && year <= 9999);
    p = put2(p, year / 100);
    p = put2(p, year % 100);
    *p++ = '-';
    p = put2(p, month);
    *p++ = '-';
    return put2(p, day);
}

uint8_t *ptl_put_rfc3339(uint8_t *text, int64_t unix_ms)
{
    PTL_ASSERT(unix_ms >= 0);
    PTL_ASSERT(unix_ms < UNIX_MS_OF_10K);
    uint32_t days = (uint32_t)((uint64_t)unix_ms / (uint64_t)MS_PER_DAY);
    uint32_t ms = (uint32_t)((uint64_t)unix_ms - (uint64_t)days * (uint64_t)MS_PER_DAY);
    uint32_t seconds = ms / 1000;
    uint32_t minutes = seconds / 60;
    ms -= seconds * 1000;

    uint8_t *p = put_date(text, days);
    *p++ = 'T';
    p = put2(p, minutes / 60);
    *p++ = ':';
    p = put2(p, minutes % 60);
    *p++ = ':';
    p = put2(p, seconds - minutes * 60);
    *p++ = '.';
    *p++ = (uint8_t)('0' + ms / 100);
    p = put2(p, ms % 100);
    *p++ = 'Z';
    PTL_ASSERT(p == text + PTL_RFC3339_TEXT_BYTES);
    return p;
}

void ptl_write_rfc3339(struct ptl_writer *w, int64_t unix_ms)
{
    uint8_t text[PTL_RFC3339_TEXT_BYTES];
    (void)ptl_put_rfc3339(text, unix_ms);
    ptl_write_bytes(w, text, sizeof(text));
}

// What is left to read. A step that does not find what it wants leaves `ok` false for good.
struct reading {
    const uint8_t *at;
    const uint8_t *end;
    bool ok;
};

static bool take(struct reading *r, char a, char b)
{
    if (r->at < r->end && (*r->at == (uint8_t)a || *r->at == (uint8_t)b)) {
        r->at++;
        return true;
    }
    return false;
}

static void expect(struct reading *r, char a, char b)
{
    r->ok = take(r, a, b) && r->ok;
}

// Exactly `count` digits, a value of low..high.
static uint32_t number(struct reading *r, uint32_t count, uint32_t low, uint32_t high)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (r->at == r->end || *r->at < '0' || *r->at > '9') {
            r->ok = false;
            return low;
        }
        value = value * 10 + (uint32_t)(*r->at++ - '0');
    }
    if (value < low || value > high) {
        r->ok = false;
        return low;
    }
    return value;
}

static uint32_t days_of_month(uint32_t year, uint32_t month)
{
    if (month == 2) {
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
    }
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

static uint32_t days_since_1970(uint32_t year, uint32_t month, uint32_t day)
{
    PTL_ASSERT(year >= 1969 && month >= 1 && day >= 1);
    uint32_t y = month <= 2 ? year - 1 : year;
    uint32_t month_from_march = month <= 2 ? month + 9 : month - 3;
    uint32_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    // From 0000-03-01; the years before 1969 are not negative, only refused.
    uint32_t days = y * 365 + y / 4 - y / 100 + y / 400 + day_of_year;
    return days - DAYS_TO_1970;
}

// Milliseconds of the fraction, digits beyond the third cut.
static uint32_t fraction_ms(struct reading *r)
{
    if (!take(r, '.', '.')) {
        return 0;
    }
    uint32_t ms = number(r, 1, 0, 9) * 100;
    for (uint32_t weight = 10; r->at < r->end && *r->at >= '0' && *r->at <= '9'; weight /= 10) {
        ms += weight * (uint32_t)(*r->at++ - '0');
    }
    return ms;
}

// Minutes that local time is ahead of UTC.
static int32_t zone_minutes(struct reading *r)
{
    if (take(r, 'Z', 'z')) {
        return 0;
    }
    bool east = take(r, '+', '+');
    if (!east) {
        expect(r, '-', '-');
    }
    uint32_t minutes = number(r, 2, 0, 23) * 60;
    expect(r, ':', ':');
    minutes += number(r, 2, 0, 59);
    return east ? (int32_t)minutes : -(int32_t)minutes;
}

enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, PARTS };

// Date and time of day: a zone can carry the first and last hours across a year's end, so that the
// bound of years is judged in UTC, later.
static void read_parts(struct reading *r, uint32_t *parts)
{
    static const struct {
        uint16_t low;
        uint16_t high;
        uint8_t digits;
        char after;
    } rules[PARTS] = {
        [YEAR] = {1969, 2200, 4, '-'}, [MONTH] = {1, 12, 2, '-'},  [DAY] = {1, 31, 2, 'T'},
        [HOUR] = {0, 23, 2, ':'},      [MINUTE] = {0, 59, 2, ':'}, [SECOND] = {0, 59, 2, '\0'},
    };
    for (int i = 0; i < PARTS; i++) {
        parts[i] = number(r, rules[i].digits, rules[i].low, rules[i].high);
        if (i < SECOND) {
            expect(r, rules[i].after, rules[i].after == 'T' ? 't' : rules[i].after);
        }
    }
}

enum ptl_status ptl_rfc3339_parse(struct ptl_span text, int64_t *unix_ms)
{
    PTL_ASSERT(text.ptr != NULL || text.len == 0);
    PTL_ASSERT(unix_ms != NULL);
    if (text.len == 0) {
        return PTL_E_FORMAT;
    }
    struct reading r = {.at = text.ptr, .end = text.ptr + text.len, .ok = true};
    uint32_t parts[PARTS];
    read_parts(&r, parts);
    uint32_t ms = fraction_ms(&r);
    int32_t ahead_minutes = zone_minutes(&r);
    if (!r.ok || r.at != r.end || parts[DAY] > days_of_month(parts[YEAR], parts[MONTH])) {
        return PTL_E_FORMAT;
    }
    // Of 1969 only the last day can reach 1970: the difference is taken signed.
    int32_t days = (int32_t)days_since_1970(parts[YEAR], parts[MONTH], parts[DAY]);
    int32_t minutes = (int32_t)(parts[HOUR] * 60 + parts[MINUTE]) - ahead_minutes;
    int64_t result =
        days * MS_PER_DAY + minutes * INT64_C(60000) + (int64_t)(parts[SECOND] * 1000 + ms);
    if (result < 0 || result >= UNIX_MS_OF_2200) {
        return PTL_E_FORMAT;
    }
    *unix_ms = result;
    return PTL_OK;
}
