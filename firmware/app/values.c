#include "values.h"

#include <stdbool.h>
#include <string.h>

#include "text.h"

#define FRACTION_BITS 54 /* of a product of 32 and 24 bits; 1000 times the fraction still fits 64 */

/* Rounded to the nearest, ties away from zero. */
static void write_product(bool negative, uint64_t product, int32_t exponent)
{
    uint64_t whole = 0U;
    uint64_t thousandths = 0U;
    if (exponent >= 0) {
        whole = exponent < 64 && product <= UINT64_MAX >> exponent ? product << exponent : UINT64_MAX;
    } else {
        int32_t bits = -exponent;
        for (; bits > FRACTION_BITS; bits--) {
            product >>= 1; /* far below what is printed */
        }
        const uint64_t one = UINT64_C(1) << bits;
        whole = product >> bits;
        thousandths = ((product & (one - 1U)) * 1000U + one / 2U) >> bits;
    }
    if (thousandths == 1000U) {
        thousandths = 0U;
        whole++;
    }
    if (negative && (whole | thousandths) != 0U) {
        text_write("-");
    }
    text_write_decimal(whole);
    text_write(thousandths >= 100U ? "." : thousandths >= 10U ? ".0" : ".00");
    text_write_decimal(thousandths);
}

void values_write_code(int32_t code, const values_scale_t *scale)
{
    const int64_t number = (int64_t)scale->gain * code - scale->zero;
    const bool negative = number < 0;
    write_product(negative, (uint64_t)(negative ? -number : number) * scale->mantissa, scale->exponent);
}

void values_write_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t exponent = bits >> 23 & 0xFFU;
    const uint32_t fraction = bits & 0x7FFFFFU;
    if (exponent == 0xFFU && fraction != 0U) {
        text_write("nan");
        return;
    }
    /* IEEE 754: numbers without the leading one have the exponent of those that have it and are least. */
    const uint32_t mantissa = exponent == 0U ? fraction : fraction | 0x800000U;
    write_product(bits >> 31 != 0U, mantissa, (int32_t)(exponent == 0U ? 1U : exponent) - 150);
}
