//! In which table a count is: the key of shared data that holds it.

use super::table::{Account, Class, CounterId, FORMAT_PART};
use crate::bounds::SLOTS_PROMISED;
use crate::digest::push_hexadecimal;

/// How many shards there are; at least two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(u32);

impl Shards {
    /// Enough shards for this many slots, a power of two.
    #[must_use]
    pub fn for_entries(entries: u32) -> Shards {
        Shards(entries.div_ceil(SLOTS_PROMISED).max(2).next_power_of_two())
    }

    /// The shared-data key of a count. Callers of a class spread over its shards; a `global` counter has its own key.
    pub(super) fn key(self, space: &str, counter: CounterId, account: Account) -> String {
        let mut key = String::with_capacity(space.len() + LONGEST_KEY);
        for part in [space, FORMAT_PART, account.class.word(), "/"] {
            key.push_str(part);
        }
        if account.class == Class::Global {
            push_hexadecimal(&mut key, counter.0, 16);
            return key;
        }
        // The low bits of a digest are as good as any.
        let [first, second, third, fourth, ..] = account.caller.0.to_le_bytes();
        let bits = u32::from_le_bytes([first, second, third, fourth]);
        push_hexadecimal(&mut key, self.0.into(), 1);
        key.push('/');
        push_hexadecimal(&mut key, (bits & self.0.wrapping_sub(1)).into(), 1);
        key
    }
}

/// Of a key, all but its space.
const LONGEST_KEY: usize = 32;

#[cfg(test)]
mod tests {
    use super::Shards;
    use crate::rate::table::{Account, CallerId, Class, CounterId, FORMAT, Maker};

    #[test]
    fn a_key_says_what_it_is_of() {
        for (caller, class, counter) in [
            (0, Class::Global, 0),
            (0, Class::Global, 0xfed_cba9_8765_4321),
            (0, Class::Claimed, 7),
            (0x1234_5678_9abc, Class::Claimed, 7),
            (u128::MAX, Class::Verified, u64::MAX),
        ] {
            let shards = Shards::for_entries(4096);
            let account = Account { caller: CallerId(caller), class, maker: Maker::NOBODY };
            let word = class.word();
            let expected = match class {
                Class::Global => format!("space/{FORMAT}/{word}/{counter:016x}"),
                Class::Verified | Class::Address | Class::Session | Class::Claimed => format!(
                    "space/{FORMAT}/{word}/{:x}/{:x}",
                    shards.0,
                    caller as u32 & (shards.0 - 1)
                ),
            };
            assert_eq!(shards.key("space", CounterId(counter), account), expected);
        }
    }
}
