//! Counting under callgrind, and reading what it wrote.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cases::{CASES, Rig};

/// What one call costs.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) instructions: u64,
    /// Lines of code of 64 bytes.
    pub(crate) lines: u64,
    pub(crate) allocations: u64,
}

/// One call, and the only code that callgrind counts: it is told so by this name.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) fn counted(rig: &mut Rig) -> Result<(), String> {
    std::hint::black_box(rig).call()
}

/// Runs this program under callgrind, and reads what each case costs.
pub(crate) fn count() -> Result<Vec<Work>, String> {
    let itself = std::env::current_exe().map_err(|problem| problem.to_string())?;
    let out = out_files(&itself);
    for number in 1.. {
        if std::fs::remove_file(file(&out, number)).is_err() {
            break;
        }
    }
    let ran = Command::new(std::env::var_os("VALGRIND").unwrap_or("valgrind".into()))
        .args(["--tool=callgrind", "--quiet", "--dump-instr=yes", "--compress-pos=no"])
        .args(["--toggle-collect=counted", "--dump-after=counted"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&itself)
        .arg("run")
        .output()
        .map_err(|problem| format!("valgrind: {problem}; `envoy/tools.sh valgrind` fetches it"))?;
    if !ran.status.success() {
        return Err(format!("under valgrind: {}", String::from_utf8_lossy(&ran.stderr)));
    }
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let allocations: Vec<u64> = told.lines().filter_map(|line| line.parse().ok()).collect();
    if allocations.len() != CASES.len() {
        return Err(format!("under valgrind, {} of {} cases ran", allocations.len(), CASES.len()));
    }
    let works = allocations.into_iter().zip(1..).map(|(allocations, number)| {
        let path = file(&out, number);
        let text = std::fs::read_to_string(&path)
            .map_err(|problem| format!("{}: {problem}", path.display()))?;
        let (instructions, lines) = read(&text, &itself);
        match instructions {
            0 => Err(format!("{} has no instructions in it", path.display())),
            _ => Ok(Work { instructions, lines, allocations }),
        }
    });
    works.collect()
}

fn out_files(itself: &Path) -> PathBuf {
    // target/engine/release/engine
    let folder = itself.ancestors().nth(2).unwrap_or(Path::new("."));
    folder.join("callgrind.out")
}

fn file(out: &Path, number: u32) -> PathBuf {
    out.with_extension(format!("out.{number}"))
}

/// The program's own instructions in a profile, and the lines of code that they lie on: those of the C library differ between machines, and the
/// filter has another allocator. The profile's lines are `0xADDRESS LINE COUNT`; the one after `calls=` repeats what was counted within. An object
/// has its name where it is first, `ob=(2) /path`, and then its number.
fn read(profile: &str, itself: &Path) -> (u64, u64) {
    let (mut instructions, mut lines) = (0, HashSet::new());
    let (mut own, mut is_own, mut repeats) = ("", false, false);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
            let (number, name) = object.split_once(' ').unwrap_or((object, ""));
            if !name.is_empty() && Path::new(name) == itself {
                own = number;
            }
            // `cob=` says where the next call goes, and no more.
            if line.starts_with("ob=") {
                is_own = number == own;
            }
        } else if line.starts_with("calls=") {
            repeats = true;
        } else if let Some(rest) = line.strip_prefix("0x") {
            let mut parts = rest.split(' ');
            let address = parts.next().and_then(|text| u64::from_str_radix(text, 16).ok());
            let count = parts.nth(1).and_then(|text| text.parse::<u64>().ok());
            if let (Some(address), Some(count), true) = (address, count, is_own && !repeats) {
                instructions += count;
                lines.insert(address >> 6);
            }
            repeats = false;
        }
    }
    (instructions, lines.len() as u64)
}
