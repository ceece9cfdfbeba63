//! Whose count a call goes to: a caller, what his name rests on, and what of him is counted.

/// Whose count a slot is: a digest, never a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerId(pub u128);

impl CallerId {
    /// Stands for everybody: the slot of a `global` counter, or the floor of a counter in a shard.
    pub const EVERYBODY: CallerId = CallerId(0);

    /// A name that somebody calls: whose it is stands in the lower half, so that all of one caller's names are in one shard.
    fn of_name(self, name: u128) -> CallerId {
        CallerId(name << 64 | u128::from(self.holder()))
    }

    /// Whose name it is; zero stands for all who have no slots of their own.
    pub(super) fn holder(self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(u64::MAX)
    }

    /// The name that is called.
    #[must_use]
    pub fn name(self) -> u128 {
        self.0 >> 64
    }

    /// The same name on the floor.
    #[must_use]
    pub fn on_floor(self, per: Per) -> CallerId {
        match per {
            Per::Caller | Per::Call => CallerId::EVERYBODY,
            Per::Name => CallerId::EVERYBODY.of_name(self.name()),
        }
    }
}

/// What a caller's name rests on. Each class has tables of its own, so that names which anybody can invent fill none in which
/// others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// All callers together.
    Global,
    /// Somebody vouches for the name: a claim, a certificate, a header of the operator's own proxies; or it is that of all who have none.
    Verified,
    /// The address of the client.
    Address,
    /// A session, of which a caller can begin as many as he likes.
    Session,
    /// A header that nobody has verified: it is a name that the caller can invent.
    Claimed,
}

impl Class {
    /// The word in shared-data keys.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Class::Global => "global",
            Class::Verified => "verified",
            Class::Address => "address",
            Class::Session => "session",
            Class::Claimed => "claimed",
        }
    }
}

/// Who brought a name here, where he can bring as many as he likes: a small digest of his address, or of his verified name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker(pub u32);

impl Maker {
    /// Names of this kind cannot be made up, and nobody has a share of the table.
    pub const NOBODY: Maker = Maker(0);
}

/// What of a caller a slot counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// All that he calls.
    Caller,
    /// Calls that are equal.
    Call,
    /// Calls of one name. A limit is on how many names there are.
    Name,
}

impl Per {
    /// The words of policies; without one it is all.
    pub const WORDS: [(&'static str, Per); 2] = [("call", Per::Call), ("name", Per::Name)];
}

/// Whose count a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The caller.
    pub caller: CallerId,
    /// What his name rests on.
    pub class: Class,
    /// Who brought the name.
    pub maker: Maker,
    /// What of him is counted.
    pub per: Per,
}

impl Account {
    /// That of all callers together.
    pub const EVERYBODY: Account = Account {
        caller: CallerId::EVERYBODY,
        class: Class::Global,
        maker: Maker::NOBODY,
        per: Per::Caller,
    };

    /// The part of it that counts what has this digest. There are as many as the caller likes, whose own account is `by`, so he is their maker.
    #[must_use]
    pub fn per(self, per: Per, what: u128, by: Account) -> Account {
        let caller = match per {
            Per::Caller => return self,
            Per::Call => CallerId(what),
            Per::Name => CallerId::of_name(self.caller, what),
        };
        let [first, second, third, fourth, ..] = by.caller.0.to_le_bytes();
        let own = u32::from_le_bytes([first, second, third, fourth]).max(1);
        let maker = if by.maker == Maker::NOBODY { Maker(own) } else { by.maker };
        Account { caller, maker, per, ..self }
    }
}
