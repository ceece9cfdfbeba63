//! Whether the Envoy that loads the module is one that it was built for.
//!
//! Envoy only logs a version of the ABI that is not its own, and goes on: functions would get other arguments than they expect. It does not
//! tell its own version either. But the text is in its program, which compares with it; so it is looked for there, once. That every
//! function is there that the module calls, the loader sees to (`-z now`, see `make module`).

use std::io::{self, Read, Seek, SeekFrom};

/// What the linker made of a program, as far as it is needed: the parts of an ELF file (`elf.h`).
const SEGMENT_IS_LOADED: u32 = 1;
const SEGMENT_IS_READ_ONLY: u32 = 4;
const SEGMENT_BYTES: usize = 56;

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Whether the read-only data of a program, an ELF file of 64 bits, has this text with a NUL behind it.
fn knows(program: &mut (impl Read + Seek), text: &[u8]) -> io::Result<bool> {
    let wanted = [text, &[0]].concat();
    for (start, length) in read_only(program)? {
        program.seek(SeekFrom::Start(start))?;
        let mut rest = program.by_ref().take(length);
        // What a piece ends with is looked at again with the next.
        let mut piece = Vec::new();
        loop {
            let kept = piece.len().min(wanted.len());
            piece.drain(..piece.len() - kept);
            if rest.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)? == 0 {
                break;
            }
            if piece.windows(wanted.len()).any(|found| found == wanted) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Where a program's read-only data is in its file, and how long.
fn read_only(program: &mut (impl Read + Seek)) -> io::Result<Vec<(u64, u64)>> {
    let mut head = [0; 64];
    program.read_exact(&mut head)?;
    let table = u64::from_le_bytes(part(&head, 0x20)?);
    let count = u16::from_le_bytes(part(&head, 0x38)?);
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    program.seek(SeekFrom::Start(table))?;
    let mut found = Vec::new();
    for _ in 0..count {
        let mut segment = [0; SEGMENT_BYTES];
        program.read_exact(&mut segment)?;
        let kind = u32::from_le_bytes(part(&segment, 0)?);
        let flags = u32::from_le_bytes(part(&segment, 4)?);
        if kind == SEGMENT_IS_LOADED && flags == SEGMENT_IS_READ_ONLY {
            let start = u64::from_le_bytes(part(&segment, 8)?);
            found.push((start, u64::from_le_bytes(part(&segment, 0x20)?)));
        }
    }
    Ok(found)
}

fn part<const SIZE: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; SIZE]> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().ok_or(io::ErrorKind::InvalidData.into())
}

#[cfg(feature = "module")]
pub(super) use load::is_ours;

#[cfg(feature = "module")]
mod load {
    use super::knows;
    use crate::exchange::Level;
    use crate::module::abi::{VERSION, log};

    /// The program that runs.
    const PROGRAM: &str = "/proc/self/exe";

    /// Whether this Envoy speaks the version of the ABI that the module was built for. From then on, a panic is told in its log.
    pub(in crate::module) fn is_ours() -> bool {
        std::panic::set_hook(Box::new(|panic| {
            log(
                Level::Error,
                &format!("mcp_policy: panicked, and refuses what it was about: {panic}"),
            );
        }));
        let version = VERSION.to_string_lossy();
        let known = std::fs::File::open(PROGRAM)
            .and_then(|mut program| knows(&mut program, version.as_bytes()));
        match known {
            Ok(true) => return true,
            Ok(false) => log(
                Level::Error,
                &format!(
                    "mcp_policy: refused to load: this Envoy does not speak version {version} of the ABI of dynamic modules; \
                     help: use the module that was built for this minor version of Envoy"
                ),
            ),
            Err(error) => log(
                Level::Error,
                &format!(
                    "mcp_policy: refused to load: the version of Envoy's ABI cannot be found out, since {PROGRAM} cannot be read: {error}"
                ),
            ),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE_BYTES, knows};
    use std::io::Cursor;

    /// A program whose read-only data is this.
    fn program(data: &[u8], flags: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[0x20] = 64;
        bytes[0x38] = 1;
        let segment = &mut bytes[64..];
        segment[0] = 1;
        segment[4..8].copy_from_slice(&flags.to_le_bytes());
        segment[8] = 120;
        segment[0x20..0x28].copy_from_slice(&(data.len() as u64).to_le_bytes());
        [bytes, data.to_vec()].concat()
    }

    #[test]
    fn a_version_is_found_in_read_only_data_with_its_end() {
        let knows = |program: Vec<u8>| knows(&mut Cursor::new(program), b"v0.2.0").ok();
        let long = |before: usize| [&vec![b'x'; before][..], b"v0.2.0\0"].concat();
        assert_eq!(knows(program(b"a\0v0.2.0\0b", 4)), Some(true));
        assert_eq!(knows(program(b"a\0v0.2.01\0v0.2\0v0.2.", 4)), Some(false));
        assert_eq!(knows(program(b"\0v0.2.0\0", 6)), Some(false), "that can be written");
        for before in PIECE_BYTES - 8..PIECE_BYTES + 2 {
            assert_eq!(knows(program(&long(before), 4)), Some(true), "{before}");
        }
        assert_eq!(knows(b"#!/bin/sh".to_vec()), None);
        let whole = program(b"v0.2.0\0", 4);
        for end in 0..whole.len() {
            assert_ne!(knows(whole[..end].to_vec()), Some(true), "cut at {end}");
        }
    }
}
