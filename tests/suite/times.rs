//! Times, beside another reader of them.

use std::cmp::Ordering;

use jiff::Timestamp;
use mcp_policy::matcher::instant::Time;
use proptest::prelude::*;

/// The parts of a time, mostly ones that there are. Years and fractions are such as `jiff` can hold.
fn text() -> impl Strategy<Value = String> {
    let date =
        (1u32..9999, 0u32..14, 0u32..33).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let clock =
        (0u32..25, 0u32..61, 0u32..60).prop_map(|(h, m, s)| format!("{h:02}:{m:02}:{s:02}"));
    let offset = prop_oneof![
        Just("Z".to_owned()),
        Just("z".to_owned()),
        Just("-00:00".to_owned()),
        (prop::sample::select(vec!['+', '-']), 0u32..24, 0u32..60)
            .prop_map(|(sign, h, m)| format!("{sign}{h:02}:{m:02}")),
    ];
    let fraction = prop_oneof![Just(String::new()), "\\.[0-9]{1,9}"];
    let between = prop::sample::select(vec!["T", "t"]);
    (date, between, clock, fraction, offset).prop_map(|(date, t, clock, fraction, offset)| {
        format!("{date}{t}{clock}{fraction}{offset}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Both read the same texts, and place them alike.
    #[test]
    fn times_are_what_jiff_takes_them_for(text in text()) {
        let theirs: Result<Timestamp, _> = text.parse();
        // Hour 24 is for `jiff` the midnight after it; RFC 3339 has none.
        let theirs = theirs.ok().filter(|_| text.get(11..13) != Some("24"));
        let ours = Time::parse(&text);
        prop_assert_eq!(ours.is_some(), theirs.is_some(), "{}", text);
        if let (Some(Time { first, last }), Some(theirs)) = (ours, theirs) {
            prop_assert_eq!(first, last);
            let digits = format!("{:0<9}", std::str::from_utf8(first.fraction).unwrap());
            let nanos = i128::from(first.seconds) * 1_000_000_000 + digits.parse::<i128>().unwrap();
            prop_assert_eq!(nanos, theirs.as_nanosecond(), "{}", text);
        }
    }

    /// Their order is that of `jiff`.
    #[test]
    fn times_stand_as_in_jiff(left in text(), right in text()) {
        let theirs = left.parse::<Timestamp>().ok().zip(right.parse::<Timestamp>().ok());
        let ours = Time::parse(&left).zip(Time::parse(&right));
        if let (Some((a, b)), Some((x, y))) = (ours, theirs) {
            prop_assert_eq!(a.first.cmp(&b.first), x.cmp(&y), "{} {}", left, right);
        }
    }

    /// No text of any kind is too much, and a digit more is later.
    #[test]
    fn nothing_panics(text in "\\PC{0,40}", digits in "[0-9]{0,80}[1-9]") {
        let _ = Time::parse(&text);
        let longer = format!("2026-12-01T00:00:00.{digits}1Z");
        let shorter = format!("2026-12-01T00:00:00.{digits}Z");
        let order = Time::parse(&shorter).unwrap().last.cmp(&Time::parse(&longer).unwrap().first);
        prop_assert_eq!(order, Ordering::Less);
    }
}

/// Every day that there is comes one day after the one before it.
#[test]
fn days_follow_each_other() {
    let mut before = None;
    let mut days = 0;
    for year in 0..=9999 {
        for month in 1..=12 {
            for day in 1..=31 {
                let text = format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
                let Some(time) = Time::parse(&text) else { continue };
                let seconds = time.first.seconds;
                assert!(before.is_none_or(|before: i64| before + 86_400 == seconds), "{text}");
                before = Some(seconds);
                days += 1;
            }
        }
    }
    assert_eq!(days, 3_652_425, "25 times 400 years of 146097 days");
    assert_eq!(Time::parse("1970-01-01T00:00:00Z").unwrap().first.seconds, 0);
}
