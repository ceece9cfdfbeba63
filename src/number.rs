//! Exact decimal numbers, and amounts in millionths.
//!
//! Servers read JSON numbers as doubles or as exact values, and the policy must mean the same to both. A number is
//! therefore exact here only if no other number that we accept becomes the same double: up to 15 significant digits, or an
//! integer up to 2^53. Everything else is not compared at all.

use std::cmp::Ordering;

/// A decimal number: `mantissa × 10^exponent`, no trailing zero in the mantissa, zero never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// An amount in millionths, as counters hold it: sums never drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

const MILLION_DIGITS: i32 = 6;
const EXACT_DIGITS: usize = 15;
const EXACT_INTEGER: u64 = 1 << 53;
/// The largest exponent in scientific notation, either way: well within a double's range, subnormals excluded.
const MAX_MAGNITUDE: i64 = 290;

impl Decimal {
    /// Reads the text of a JSON number; `None` where the value is outside the exact range.
    #[must_use]
    pub fn parse(text: &str) -> Option<Decimal> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, saturating_exponent(exponent)),
            None => (unsigned, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let significant =
            || whole.bytes().chain(fraction.bytes()).skip_while(|&digit| digit == b'0');
        let total = significant().count();
        let zeros =
            whole.bytes().chain(fraction.bytes()).rev().take_while(|&digit| digit == b'0').count();
        if total == 0 {
            return Some(Decimal { negative: false, mantissa: 0, exponent: 0 });
        }
        let kept = total.saturating_sub(zeros);
        if kept > EXACT_DIGITS + 1 {
            return None;
        }
        let mantissa =
            significant().take(kept).fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
        let exponent =
            exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(zeros).ok()?;
        let magnitude = exponent + i64::try_from(kept).ok()? - 1;
        let exact = kept <= EXACT_DIGITS || (exponent == 0 && mantissa <= EXACT_INTEGER);
        (exact && magnitude.abs() <= MAX_MAGNITUDE).then_some(Decimal {
            negative,
            mantissa,
            exponent: i32::try_from(exponent).ok()?,
        })
    }

    /// Whether it lies within ±(2^53 - 1), where every integer is a double of its own (RFC 7493, section 2.2).
    #[must_use]
    pub fn is_safe(self) -> bool {
        let most = Decimal { negative: false, mantissa: EXACT_INTEGER - 1, exponent: 0 };
        self.magnitude_cmp(most) != Ordering::Greater
    }

    /// The number as ECMAScript writes it (ECMA-262, Number::toString). All of its digits stand there: a number of so few is its own
    /// shortest text.
    #[must_use]
    pub fn as_ecmascript(self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let digits = self.mantissa.to_string();
        let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
        // The decimal point stands behind so many digits.
        let point = count + self.exponent;
        let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
        let split = |at: i32| {
            let at = usize::try_from(at).unwrap_or_default();
            digits.split_at_checked(at).unwrap_or((&digits, ""))
        };
        match point {
            _ if self.mantissa == 0 => "0".to_owned(),
            _ if count <= point && point <= 21 => format!("{sign}{digits}{}", zeros(point - count)),
            1..=21 => {
                let (whole, fraction) = split(point);
                format!("{sign}{whole}.{fraction}")
            }
            -5..=0 => format!("{sign}0.{}{digits}", zeros(-point)),
            _ => {
                let (first, rest) = split(1);
                let dot = if rest.is_empty() { "" } else { "." };
                let plus = if point > 0 { "+" } else { "" };
                format!("{sign}{first}{dot}{rest}e{plus}{}", point - 1)
            }
        }
    }

    /// The number in millionths, rounded up, so that no fraction counts for nothing. `None` for a negative number.
    #[must_use]
    pub fn micros_rounded_up(self) -> Option<Micros> {
        if self.negative {
            return None;
        }
        let shift = self.exponent + MILLION_DIGITS;
        let power = 10u64.checked_pow(shift.unsigned_abs());
        Some(Micros(match (shift >= 0, power) {
            _ if self.mantissa == 0 => 0,
            (true, Some(power)) => self.mantissa.saturating_mul(power),
            (true, None) => u64::MAX,
            (false, Some(power)) => self.mantissa.div_ceil(power),
            (false, None) => 1,
        }))
    }

    /// The number in millionths, if it is a whole number of them and not negative.
    #[must_use]
    pub fn micros_exact(self) -> Option<Micros> {
        let micros = self.micros_rounded_up()?;
        (Decimal::from(micros) == self).then_some(micros)
    }

    fn magnitude_cmp(self, other: Decimal) -> Ordering {
        let top = |number: Decimal| {
            number.exponent + number.mantissa.checked_ilog10().map_or(0, |log| log as i32)
        };
        if self.mantissa == 0 || other.mantissa == 0 {
            return self.mantissa.cmp(&other.mantissa);
        }
        top(self).cmp(&top(other)).then_with(|| {
            // Equal leading digits: the exponents differ by less than 20, so the products fit.
            let least = self.exponent.min(other.exponent);
            let scaled = |number: Decimal| {
                u128::from(number.mantissa) * 10u128.pow(number.exponent.abs_diff(least))
            };
            scaled(self).cmp(&scaled(other))
        })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.magnitude_cmp(*other),
            (true, true) => other.magnitude_cmp(*self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Micros> for Decimal {
    fn from(Micros(micros): Micros) -> Decimal {
        let (mut mantissa, mut exponent) = (micros, -MILLION_DIGITS);
        if mantissa == 0 {
            exponent = 0;
        }
        while mantissa != 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        Decimal { negative: false, mantissa, exponent }
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, fraction) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if fraction == 0 {
            return write!(formatter, "{whole}");
        }
        let digits = format!("{fraction:06}");
        write!(formatter, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let digits = self.mantissa.to_string();
        let point = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(usize::MAX);
        if self.mantissa == 0 {
            return formatter.write_str("0");
        }
        match self.exponent {
            0 => write!(formatter, "{sign}{digits}"),
            1..=20 => write!(formatter, "{sign}{digits}{}", "0".repeat(point)),
            -20..=-1 => {
                let padded = format!("{digits:0>width$}", width = point + 1);
                let (whole, fraction) =
                    padded.split_at_checked(padded.len() - point).unwrap_or_default();
                write!(formatter, "{sign}{whole}.{fraction}")
            }
            exponent => write!(formatter, "{sign}{digits}e{exponent}"),
        }
    }
}

/// Exponents beyond any magnitude that we accept need no exact value.
fn saturating_exponent(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = digits.bytes().fold(0i64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0'))).min(1 << 40)
    });
    sign * value
}

#[cfg(test)]
mod tests {
    use super::{Decimal, Micros};
    use std::cmp::Ordering;

    #[test]
    fn compares_exactly() {
        for (left, right, expected) in [
            ("1", "1.0", Ordering::Equal),
            ("-0", "0", Ordering::Equal),
            ("0e999999999999999999999", "0", Ordering::Equal),
            ("1e2", "100", Ordering::Equal),
            ("10", "9.99999999999999", Ordering::Greater),
            ("-10", "-9", Ordering::Less),
            ("0.1", "0.10000000000001", Ordering::Less),
            ("9007199254740992", "9007199254740991", Ordering::Greater),
            ("1e20", "99999999999999", Ordering::Greater),
            ("1e-20", "0", Ordering::Greater),
            ("-1e-20", "0", Ordering::Less),
            ("123e-2", "1.23", Ordering::Equal),
            ("000".trim_start_matches("00"), "0", Ordering::Equal),
        ] {
            let order = Decimal::parse(left).unwrap().cmp(&Decimal::parse(right).unwrap());
            assert_eq!(order, expected, "{left} {right}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for (text, expected) in [
            ("10000", "10000"),
            ("-0", "0"),
            ("2.50", "2.5"),
            ("-0.05", "-0.05"),
            ("1e22", "1e22"),
            ("1e-25", "1e-25"),
            ("9007199254740992", "9007199254740992"),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn knows_where_doubles_blur() {
        for inexact in [
            "9007199254740993",
            "1e400",
            "-1e400",
            "1e-400",
            "0.1000000000000000055",
            "1e300",
            "1234567890123456789",
            "1.00000000000000001",
            "12345678901234567e3",
        ] {
            assert_eq!(Decimal::parse(inexact), None, "{inexact}");
        }
        for exact in ["9007199254740992", "123456789012345e20", "1e22", "0.000000000000001"] {
            assert!(Decimal::parse(exact).is_some(), "{exact}");
        }
    }

    #[test]
    fn counts_in_millionths() {
        for (text, up, exact) in [
            ("1", Some(1_000_000), Some(1_000_000)),
            ("0.0000001", Some(1), None),
            ("1e-200", Some(1), None),
            ("2.5", Some(2_500_000), Some(2_500_000)),
            ("0", Some(0), Some(0)),
            ("-1", None, None),
            ("1e200", Some(u64::MAX), None),
        ] {
            let decimal = Decimal::parse(text).unwrap();
            assert_eq!(decimal.micros_rounded_up(), up.map(Micros), "{text}");
            assert_eq!(decimal.micros_exact(), exact.map(Micros), "{text}");
        }
        assert_eq!(Micros(2_500_000).to_string(), "2.5");
        assert_eq!(Micros(30_000_000).to_string(), "30");
    }
}
