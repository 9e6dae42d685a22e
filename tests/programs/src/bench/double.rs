//! Natural logarithm and exponential from additions, multiplications and divisions.
//!
//! A library's functions may differ in the last bit between machines; these do not, because
//! IEEE 754 defines every operation and Rust never fuses two of them. They are exact enough
//! for a distribution, and slow, which does not matter for drawing a million numbers once.

use core::f64::consts::{LN_2, LOG2_E, SQRT_2};

const MANTISSA_BITS: u32 = 52;
const BIAS: i32 = 1023;

/// The natural logarithm of a positive, normal `x`: with x = m · 2^e and m in
/// (√½, √2], ln x = e · ln 2 + 2 · artanh((m − 1) / (m + 1)), the latter by its series.
#[must_use]
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> MANTISSA_BITS) & 0x7ff) as i32 - BIAS;
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let mut m = f64::from_bits(fraction | (BIAS as u64) << MANTISSA_BITS);
    if m > SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let (mut power, mut sum) = (s, 0.0);
    for k in (1..30).step_by(2) {
        sum += power / f64::from(k);
        power *= square;
    }
    2.0 * sum + f64::from(exponent) * LN_2
}

/// e to the power of a moderate `x`: with x = k · ln 2 + r and |r| ≤ ½ ln 2, the series of
/// e^r, times 2^k.
#[must_use]
pub fn exp(x: f64) -> f64 {
    let quotient = x * LOG2_E;
    let k = if quotient < 0.0 { quotient - 0.5 } else { quotient + 0.5 } as i32;
    let r = x - f64::from(k) * LN_2;
    let (mut term, mut sum) = (1.0, 1.0);
    for i in 1..20 {
        term *= r / f64::from(i);
        sum += term;
    }
    f64::from_bits(((k + BIAS) as u64) << MANTISSA_BITS) * sum
}
