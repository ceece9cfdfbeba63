//! In which table a count is: the key of shared data that holds it.

use super::account::{Account, Class, Per};
use super::table::{CounterId, FORMAT_PART};
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
        for part in [space, FORMAT_PART, account.class.word()] {
            key.push_str(part);
        }
        match account.per {
            Per::Caller if account.class == Class::Global => {
                key.push('/');
                push_hexadecimal(&mut key, counter.0, 16);
                return key;
            }
            Per::Caller => key.push('/'),
            // A caller makes as many of them as he likes, so they have tables of their own.
            Per::Call | Per::Name => key.push_str(".parts/"),
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
const LONGEST_KEY: usize = 40;

#[cfg(test)]
mod tests {
    use super::Shards;
    use crate::rate::table::{Account, CallerId, Class, CounterId, FORMAT, Maker, Per};

    #[test]
    fn a_key_says_what_it_is_of() {
        for (caller, class, per, counter) in [
            (0, Class::Global, Per::Caller, 0),
            (0, Class::Global, Per::Caller, 0xfed_cba9_8765_4321),
            (0, Class::Global, Per::Name, 7),
            (0x1234_5678_9abc, Class::Global, Per::Call, 7),
            (0, Class::Claimed, Per::Caller, 7),
            (0x1234_5678_9abc, Class::Claimed, Per::Caller, 7),
            (u128::MAX, Class::Verified, Per::Caller, u64::MAX),
            (u128::MAX, Class::Verified, Per::Call, u64::MAX),
            (0x1234_5678_9abc, Class::Session, Per::Name, 7),
        ] {
            let shards = Shards::for_entries(4096);
            let account = Account { caller: CallerId(caller), class, maker: Maker::NOBODY, per };
            let word = class.word();
            let shard = format!("{:x}/{:x}", shards.0, caller as u32 & (shards.0 - 1));
            let expected = match (class, per) {
                (Class::Global, Per::Caller) => format!("space/{FORMAT}/{word}/{counter:016x}"),
                (_, Per::Caller) => format!("space/{FORMAT}/{word}/{shard}"),
                (_, Per::Call | Per::Name) => format!("space/{FORMAT}/{word}.parts/{shard}"),
            };
            assert_eq!(shards.key("space", CounterId(counter), account), expected);
        }
    }
}
