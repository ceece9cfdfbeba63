//! What was computed of a secret before, found again without keeping the secret.
//!
//! A digest of a credential costs more than all the rest of judging a small call, and one caller sends one credential many times. What is
//! kept of a credential is 128 bits of SipHash under a key that is drawn when the VM starts and never leaves it: nobody can find out from
//! them what was hashed, nor bring two texts that meet. The table has a fixed size, so that callers who are made up cost time, never memory.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// How many results are kept: as many as callers are busy at the same time.
const PLACES: usize = 512;

/// Each with the name of what it was computed of.
type Results<T> = Box<[Option<(u128, T)>]>;

/// Results by what they were computed of. A new one takes the place of another.
#[derive(Debug)]
pub struct Remembered<T> {
    key: RandomState,
    results: RefCell<Results<T>>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Remembered<T> {
        let results = std::iter::repeat_with(|| None).take(PLACES).collect();
        Remembered { key: RandomState::new(), results: RefCell::new(results) }
    }
}

impl<T: Copy> Remembered<T> {
    /// What was computed of these parts before, or is computed now. What fails is not kept.
    ///
    /// # Errors
    /// Those of the computation.
    pub fn or_computed<E>(
        &self,
        parts: &[&[u8]],
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let name = self.name(parts);
        let at = usize::try_from(name % PLACES as u128).unwrap_or_default();
        let known = self.results.try_borrow().ok();
        let known = known.and_then(|results| results.get(at).copied().flatten());
        if let Some((_, found)) = known.filter(|(known, _)| *known == name) {
            return Ok(found);
        }
        let computed = compute()?;
        if let Ok(mut results) = self.results.try_borrow_mut()
            && let Some(place) = results.get_mut(at)
        {
            *place = Some((name, computed));
        }
        Ok(computed)
    }

    /// 128 bits, of two texts that no other parts have.
    fn name(&self, parts: &[&[u8]]) -> u128 {
        let half = |first: u8| {
            let mut hasher = self.key.build_hasher();
            hasher.write_u8(first);
            for part in parts {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::{PLACES, Remembered};

    #[test]
    fn every_text_has_its_own_result_however_many_there_are() {
        let remembered = Remembered::default();
        let mut computed = 0;
        for _ in 0..3 {
            for number in 0..3 * PLACES {
                let text = number.to_string();
                for parts in [vec![text.as_bytes()], vec![text.as_bytes(), b""]] {
                    let expected = (number, parts.len());
                    let found: Result<_, Infallible> = remembered.or_computed(&parts, || {
                        computed += 1;
                        Ok(expected)
                    });
                    assert_eq!(found, Ok(expected));
                }
            }
        }
        assert!(computed < 3 * 2 * 3 * PLACES, "nothing is remembered");
    }

    #[test]
    fn what_fails_is_not_kept() {
        let remembered = Remembered::default();
        for expected in [Err("no"), Err("no"), Ok(1), Ok(1)] {
            let found = remembered.or_computed(&[b"a"], || expected);
            assert_eq!(found, expected);
        }
        assert_eq!(remembered.or_computed(&[b"a"], || Err("no")), Ok(1));
    }
}
