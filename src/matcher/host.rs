//! Hosts of URLs, and networks of addresses, as every reader takes them, or not at all.
//!
//! Libraries disagree about what the host of a URL is: about user names, backslashes, white space, escapes, letters of other scripts and
//! odd numbers, and about where a host ends. What two of them could read differently has no host here, and is undecidable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Mismatch, Truth};

/// What a list of hosts or networks holds.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// As the policy writes them.
    texts: Box<[Box<str>]>,
    /// Names, in lower case and in order.
    names: Box<[Box<str>]>,
    /// What names end with, each with its dot, in lower case and in order.
    suffixes: Box<[Box<str>]>,
    ranges: Box<[AddressRange]>,
    words: Box<[AddressWord]>,
}

/// A network of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    bits: u32,
}

/// A kind of addresses that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressWord {
    /// Of private networks: RFC 1918 and RFC 4193.
    Private,
    /// The machine itself.
    Loopback,
    /// The wire that the machine is at, where clouds keep credentials.
    LinkLocal,
}

impl AddressWord {
    /// The words of policies.
    pub const WORDS: [(&'static str, AddressWord); 3] = [
        ("private", AddressWord::Private),
        ("loopback", AddressWord::Loopback),
        ("link_local", AddressWord::LinkLocal),
    ];

    fn holds(self, address: IpAddr) -> bool {
        match (self, address) {
            (AddressWord::Private, IpAddr::V4(address)) => address.is_private(),
            (AddressWord::Private, IpAddr::V6(address)) => address.is_unique_local(),
            (AddressWord::Loopback, address) => address.is_loopback(),
            (AddressWord::LinkLocal, IpAddr::V4(address)) => address.is_link_local(),
            (AddressWord::LinkLocal, IpAddr::V6(address)) => address.is_unicast_link_local(),
        }
    }
}

/// Longest name of a host.
const MAX_HOST_BYTES: usize = 253;

const HOST: &str = "a URL whose host all read alike, such as https://example.com/x";

const ADDRESS: &str = "a plain address, such as 192.0.2.1 or 2001:db8::1";

const OTHER: Mismatch = Mismatch { expected: HOST, found: "another text" };

impl Hosts {
    /// Reads the elements of a list of hosts.
    ///
    /// # Errors
    /// The first that is none, by its place.
    pub fn of_urls(texts: &[&str]) -> Result<Hosts, usize> {
        Hosts::read(texts, |text| match text.parse::<Ipv4Addr>() {
            Ok(address) => {
                Some(HostItem::Range(AddressRange { address: address.into(), bits: 32 }))
            }
            Err(_) => match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
                Some(address) => Some(HostItem::Range(AddressRange::of(address)?)),
                None => HostItem::name(text),
            },
        })
    }

    /// Reads the elements of a list of networks.
    ///
    /// # Errors
    /// The first that is none, by its place.
    pub fn of_ranges(texts: &[&str]) -> Result<Hosts, usize> {
        Hosts::read(texts, |text| AddressRange::of(text).map(HostItem::Range))
    }

    fn read(texts: &[&str], part: impl Fn(&str) -> Option<HostItem>) -> Result<Hosts, usize> {
        let (mut names, mut suffixes, mut ranges, mut words) = (vec![], vec![], vec![], vec![]);
        for (at, text) in texts.iter().enumerate() {
            let word = AddressWord::WORDS.iter().find(|(word, _)| word == text);
            match word.map(|(_, word)| HostItem::Word(*word)).or_else(|| part(text)).ok_or(at)? {
                HostItem::Name(name) => names.push(name),
                HostItem::Suffix(suffix) => suffixes.push(suffix),
                HostItem::Range(range) => ranges.push(range),
                HostItem::Word(word) => words.push(word),
            }
        }
        names.sort_unstable();
        suffixes.sort_unstable();
        Ok(Hosts {
            texts: texts.iter().map(|text| (*text).into()).collect(),
            names: names.into(),
            suffixes: suffixes.into(),
            ranges: ranges.into(),
            words: words.into(),
        })
    }

    /// As the policy writes them.
    #[must_use]
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// How many addresses are gone through one by one.
    pub(super) fn length(&self) -> usize {
        self.ranges.len() + self.words.len()
    }

    /// Whether the host of a URL is one of these.
    pub(super) fn holds_url(&self, url: &str) -> Truth {
        match host(url) {
            None => Truth::Undecidable(OTHER),
            Some(Host::Address(address)) => self.holds_address(address),
            Some(Host::Name(name)) => Truth::from(self.has_name(name)),
        }
    }

    /// Whether a text is an address in one of these.
    pub(super) fn holds_text(&self, text: &str) -> Truth {
        match text.parse().ok().and_then(alone) {
            Some(address) => self.holds_address(address),
            None => Truth::Undecidable(Mismatch { expected: ADDRESS, found: "another text" }),
        }
    }

    fn holds_address(&self, address: IpAddr) -> Truth {
        if self.ranges.iter().any(|range| range.holds(address)) {
            return Truth::True;
        }
        // To some systems the address of nothing is the machine itself.
        if address.is_unspecified() && !self.words.is_empty() {
            let found = "the address 0.0.0.0 or ::, which some take for the machine itself";
            return Truth::Undecidable(Mismatch { expected: ADDRESS, found });
        }
        Truth::from(self.words.iter().any(|word| word.holds(address)))
    }

    fn has_name(&self, name: &str) -> bool {
        let known = |names: &[Box<str>], name: &str| {
            let lower = || name.bytes().map(|byte| byte.to_ascii_lowercase());
            names.binary_search_by(|known| known.bytes().cmp(lower())).is_ok()
        };
        let dots = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
        let mut tails = dots.filter_map(|(at, _)| name.get(at..));
        let local = || {
            let last = name.rsplit('.').next().unwrap_or_default();
            last.eq_ignore_ascii_case("localhost")
        };
        known(&self.names, name)
            || tails.any(|tail| known(&self.suffixes, tail))
            || (self.words.contains(&AddressWord::Loopback) && local())
    }
}

/// An element of a list.
enum HostItem {
    Name(Box<str>),
    Suffix(Box<str>),
    Range(AddressRange),
    Word(AddressWord),
}

impl HostItem {
    fn name(text: &str) -> Option<HostItem> {
        let suffix = text.strip_prefix("*.");
        let name = suffix.unwrap_or(text);
        is_name(name).then_some(())?;
        let lower = text.to_ascii_lowercase();
        Some(match suffix {
            Some(_) => HostItem::Suffix(lower.get(1..)?.into()),
            None => HostItem::Name(lower.into()),
        })
    }
}

impl AddressRange {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or one address. The bits behind the length are zero, and there is one spelling of a family.
    fn of(text: &str) -> Option<AddressRange> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            Some(bits) => {
                let plain = bits == "0" || !bits.starts_with('0');
                let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
                bits.parse().ok().filter(|bits| plain && digits && *bits <= all)?
            }
        };
        let range = AddressRange { address, bits };
        let whole = range.network(address) == range.network_bits(address);
        (whole && address.to_canonical() == address).then_some(range)
    }

    /// The bits of an address.
    fn network_bits(self, address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    /// Those of them that tell the network.
    fn network(self, address: IpAddr) -> u128 {
        let kept = u128::MAX.checked_shl(128_u32.saturating_sub(self.bits)).unwrap_or_default();
        self.network_bits(address) & kept
    }

    fn holds(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && self.network(address) == self.network_bits(self.address)
    }
}

/// The host of a URL.
enum Host<'u> {
    Name(&'u str),
    Address(IpAddr),
}

/// The host, where every reader finds the same: between `//` and the first slash there is a host, perhaps a port, and nothing else.
fn host(url: &str) -> Option<Host<'_>> {
    let odd =
        |character: char| character.is_control() || character.is_whitespace() || character == '\\';
    if url.contains(odd) || url.contains(super::fold::invisible) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let schemes = ["http", "https", "ws", "wss", "ftp"];
    schemes.iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    let place = rest.split('/').next()?;
    if let Some(inside) = place.strip_prefix('[') {
        let (address, port) = inside.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return is_port(port).then(|| alone(address.into())).flatten().map(Host::Address);
    }
    let (name, port) = place.split_at_checked(place.find(':').unwrap_or(place.len()))?;
    if !is_port(port) {
        return None;
    }
    match name.parse::<Ipv4Addr>() {
        Ok(address) => Some(Host::Address(address.into())),
        Err(_) => is_name(name).then_some(Host::Name(name)),
    }
}

/// Nothing, or a colon and a port in its one spelling.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    port.bytes().all(|byte| byte.is_ascii_digit())
        && !port.starts_with('0')
        && port.parse::<u16>().is_ok()
}

/// A name of ASCII that no reader takes for a number: its last label is none.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(plain)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = last.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = last.get(..2).is_some_and(|head| head.eq_ignore_ascii_case("0x"));
    name.len() <= MAX_HOST_BYTES && name.split('.').all(label) && !digits && !hexadecimal
}

/// The address that a text of it leads to, an IPv4 address for one that is mapped. `None` for one that holds another in a way that some
/// networks undo and others do not: those that translate, tunnel, or are compatible with IPv4.
fn alone(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    let IpAddr::V6(six) = address else { return Some(address) };
    let holds = |range: [u16; 8], bits: u32| {
        let range = AddressRange { address: Ipv6Addr::from(range).into(), bits };
        range.holds(address)
    };
    let translated = holds([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96)
        || holds([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48)
        || holds([0x2002, 0, 0, 0, 0, 0, 0, 0], 16)
        || holds([0x2001, 0, 0, 0, 0, 0, 0, 0], 32)
        || holds([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
    let compatible = six.to_bits() > 1 && six.to_bits() >> 32 == 0;
    (!translated && !compatible).then_some(address)
}
