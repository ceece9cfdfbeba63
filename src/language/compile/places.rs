//! What `host_in`, `cidr` and `path_under` compare with: hosts, networks and folders.

use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Reader, describe};
use crate::matcher::folder::Folder;
use crate::matcher::host::Hosts;
use crate::matcher::normal::nfc;

/// A kind of lists: its reader, what an element is not where that fails, and what is meant.
pub(super) type HostKind = (fn(&[&str]) -> Result<Hosts, usize>, &'static str, &'static str);

pub(super) const HOSTS: HostKind = (
    Hosts::of_urls,
    "not a host",
    "`example.com`, `*.example.com`, `192.0.2.1`, `[2001:db8::1]`, `private`, `loopback` or `link_local`, in ASCII, without scheme and port",
);

pub(super) const RANGES: HostKind = (
    Hosts::of_ranges,
    "not a network",
    "`10.0.0.0/8`, `2001:db8::/32`, one address, `private`, `loopback` or `link_local`; no bits behind the length, no mapped addresses",
);

pub(super) fn hosts(
    field: &Field<'_>,
    (read, what, help): HostKind,
    reader: &mut Reader,
) -> Option<Hosts> {
    let items = reader.list(field);
    if items.is_empty() && matches!(field.value, Value::Array(_)) {
        let help = "name at least one".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, "the list is empty".to_owned(), help);
        return None;
    }
    let texts: Vec<&str> = items.iter().filter_map(|item| reader.text(item)).collect();
    if texts.is_empty() || texts.len() < items.len() {
        return None;
    }
    match read(&texts) {
        Ok(hosts) => Some(hosts),
        Err(at) => {
            let item = items.get(at)?;
            let message = format!("{what}: {}", describe(item.value));
            reader.error_with_help(Code::BadOperand, &item.place, message, help.to_owned());
            None
        }
    }
}

pub(super) fn folder(field: &Field<'_>, reader: &mut Reader) -> Option<Folder> {
    let folder = Folder::new(&nfc(reader.text(field)?));
    if folder.is_none() {
        let message = format!("not a folder: {}", describe(field.value));
        let help = "an absolute path without dots, escapes or backslashes, such as `/data`";
        reader.error_with_help(Code::BadOperand, &field.place, message, help.to_owned());
    }
    folder
}
