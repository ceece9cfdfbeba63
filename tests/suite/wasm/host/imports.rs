//! The imports of the module, one by one.

use wasmi::{Caller, Engine, Error, Extern, Linker, Memory, Module, Val};

use super::{BAD_ARGUMENT, Callout, Fault, Host, Metric, NOT_FOUND, OK, Pairs, Reply, Stream};

/// A host call while it runs: the guest's memory, and the host's side of the VM.
struct Guest<'g> {
    caller: Caller<'g, Host>,
    memory: Memory,
}

macro_rules! serve {
    ($($name:ident => $method:ident [$($argument:ident),*];)*) => {
        /// Every import of the ABI that this host serves.
        pub(crate) const IMPORTS: &[&str] =
            &[$(stringify!($name),)* "proxy_increment_metric", "proxy_record_metric"];

        fn link_abi(linker: &mut Linker<Host>) {
            $(
                let serve = |caller: Caller<'_, Host>, $($argument: u32),*| -> u32 {
                    let mut guest = Guest::new(caller);
                    match guest.fault(stringify!($name)) {
                        Some(fault) => guest.fails(stringify!($name), &[$($argument),*], fault),
                        None => guest.$method([$($argument),*]),
                    }
                };
                linker.func_wrap("env", stringify!($name), serve).unwrap();
            )*
        }
    };
}

serve! {
    proxy_log => log [level, text, size];
    proxy_get_current_time_nanoseconds => time [out];
    proxy_set_tick_period_milliseconds => tick [period];
    proxy_set_effective_context => act_on [context];
    proxy_continue_stream => go_on [stream];
    proxy_get_buffer_bytes => buffer [kind, start, size, out, out_size];
    proxy_get_header_map_pairs => pairs [map, out, out_size];
    proxy_remove_header_map_value => remove_header [map, name, size];
    proxy_replace_header_map_value => set_header [map, name, size, value, value_size];
    proxy_set_buffer_bytes => set_buffer [kind, start, size, bytes, bytes_size];
    proxy_get_property => property [path, size, out, out_size];
    proxy_set_property => set_property [path, size, value, value_size];
    proxy_get_shared_data => shared [key, size, out, out_size, cas];
    proxy_set_shared_data => set_shared [key, size, value, value_size, cas];
    proxy_send_local_response => reply [
        status, details, details_size, body, body_size, headers, headers_size, grpc_status
    ];
    proxy_define_metric => define [kind, name, size, out];
    proxy_http_call => ask [
        cluster, cluster_size, headers, headers_size, body, body_size, trailers, trailers_size, timeout, out
    ];
}

/// For every import of the module a trap with its name, but for those that the filter is known to
/// call.
pub(super) fn link(engine: &Engine, module: &Module) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    for import in module.imports() {
        let (space, name) = (import.module(), import.name());
        let told = format!("the filter called {name}, which this host does not have");
        let trap =
            move |_: Caller<'_, Host>, _: &[Val], _: &mut [Val]| Err(Error::new(told.clone()));
        let of = import.ty().func().expect(name).clone();
        linker.func_new(space, name, of, trap).unwrap();
    }
    linker.allow_shadowing(true);
    link_abi(&mut linker);
    link_metrics(&mut linker);
    link_wasi(&mut linker);
    linker
}

/// The calls whose second argument is a number of 64 bits.
fn link_metrics(linker: &mut Linker<Host>) {
    for name in ["proxy_increment_metric", "proxy_record_metric"] {
        let count = move |caller: Caller<'_, Host>, id: u32, value: u64| -> u32 {
            let mut guest = Guest::new(caller);
            if let Some(fault) = guest.fault(name) {
                return guest.fails(name, &[], fault);
            }
            let adds = name == "proxy_increment_metric";
            let Some(metric) = guest.host().metrics.get_mut(id as usize) else { return NOT_FOUND };
            if adds != (metric.kind == 0) {
                return BAD_ARGUMENT;
            }
            match metric.kind {
                0 => metric.values = vec![metric.values.iter().sum::<u64>() + value],
                1 => metric.values = vec![value],
                _ => metric.values.push(value),
            }
            OK
        };
        linker.func_wrap("env", name, count).unwrap();
    }
}

/// What Rust's standard library asks of WASI when it starts: an empty environment, and a seed; and what
/// the filter asks of it.
fn link_wasi(linker: &mut Linker<Host>) {
    let space = "wasi_snapshot_preview1";
    let sizes = |caller: Caller<'_, Host>, count: u32, size: u32| -> u32 {
        let mut guest = Guest::new(caller);
        guest.write(count, &[0; 4]);
        guest.write(size, &[0; 4]);
        OK
    };
    let random = |caller: Caller<'_, Host>, out: u32, size: u32| -> u32 {
        let mut guest = Guest::new(caller);
        if let Some(fault) = guest.fault("random_get") {
            return guest.fails("random_get", &[], fault);
        }
        // Never the same twice.
        guest.host().drawn += 1;
        let drawn = guest.host().drawn.to_le_bytes();
        let bytes: Vec<u8> = (0..size as usize).map(|at| drawn[at % 8] ^ at as u8).collect();
        guest.write(out, &bytes);
        OK
    };
    // The clock that cannot be set: nobody sets the other one here, so it is the same.
    let clock = |caller: Caller<'_, Host>, _: u32, _: u64, out: u32| -> u32 {
        let mut guest = Guest::new(caller);
        match guest.fault("clock_time_get") {
            Some(fault) => guest.fails("clock_time_get", &[out], fault),
            None => guest.time([out]),
        }
    };
    linker.func_wrap(space, "clock_time_get", clock).unwrap();
    linker.func_wrap(space, "environ_sizes_get", sizes).unwrap();
    linker.func_wrap(space, "environ_get", |_: Caller<'_, Host>, _: u32, _: u32| OK).unwrap();
    linker.func_wrap(space, "random_get", random).unwrap();
}

impl<'g> Guest<'g> {
    fn new(caller: Caller<'g, Host>) -> Guest<'g> {
        let memory = caller.get_export("memory").and_then(Extern::into_memory).unwrap();
        Guest { caller, memory }
    }

    fn host(&mut self) -> &mut Host {
        self.caller.data_mut()
    }

    /// The stream that the call is about, if it is about one.
    fn stream(&mut self) -> Option<&mut Stream> {
        let host = self.host();
        host.streams.get_mut(&host.context)
    }

    fn read(&mut self, from: u32, size: u32) -> Vec<u8> {
        let mut bytes = vec![0; size as usize];
        self.memory.read(&self.caller, from as usize, &mut bytes).unwrap();
        bytes
    }

    fn write(&mut self, to: u32, bytes: &[u8]) {
        self.memory.write(&mut self.caller, to as usize, bytes).unwrap();
    }

    /// Hands bytes over, in memory that the guest allocates. No bytes are a null pointer.
    fn give(&mut self, bytes: &[u8], out: u32, out_size: u32) -> u32 {
        let size = u32::try_from(bytes.len()).unwrap();
        let mut at = 0;
        if size > 0 {
            let allocate =
                self.caller.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
            let allocate = allocate.unwrap().typed::<u32, u32>(&self.caller).unwrap();
            at = allocate.call(&mut self.caller, size).unwrap();
            self.write(at, bytes);
        }
        self.write(out, &at.to_le_bytes());
        self.write(out_size, &size.to_le_bytes());
        OK
    }

    /// The fault that is arranged for this call of an import.
    fn fault(&mut self, import: &str) -> Option<Fault> {
        let arranged =
            self.host().arranged.as_mut().filter(|arranged| arranged.import == import)?;
        if arranged.after > 0 {
            arranged.after -= 1;
            return None;
        }
        arranged.times = arranged.times.checked_sub(1)?;
        Some(arranged.fault.clone())
    }

    fn fails(&mut self, import: &str, arguments: &[u32], fault: Fault) -> u32 {
        // Where a call that hands bytes over puts them.
        let out = match import {
            "proxy_get_buffer_bytes" => 3,
            "proxy_get_header_map_pairs" => 1,
            "proxy_get_property" | "proxy_get_shared_data" => 2,
            _ => usize::MAX,
        };
        match (fault, arguments.get(out), arguments.get(out.wrapping_add(1))) {
            (Fault::Status(status), _, _) => status,
            (Fault::Bytes(bytes), Some(out), Some(out_size)) => self.give(&bytes, *out, *out_size),
            (Fault::Nothing | Fault::Bytes(_), _, _) => OK,
        }
    }

    fn log(&mut self, [level, text, size]: [u32; 3]) -> u32 {
        let text = self.read(text, size);
        // What Envoy shows unless it is told otherwise: from info on.
        if level >= 2 {
            let line = format!("{level} {}", String::from_utf8_lossy(&text));
            self.host().log.push(line);
        }
        OK
    }

    fn time(&mut self, [out]: [u32; 1]) -> u32 {
        let nanoseconds = self.host().now * 1_000_000;
        self.write(out, &nanoseconds.to_le_bytes());
        OK
    }

    /// Timers belong to root contexts; zero stops one.
    fn tick(&mut self, [period]: [u32; 1]) -> u32 {
        let context = self.host().context;
        let root = self.stream().map_or(context, |stream| stream.root);
        let ticks = &mut self.host().ticks;
        if period == 0 {
            ticks.remove(&root);
        } else {
            ticks.insert(root, period);
        }
        OK
    }

    fn act_on(&mut self, [context]: [u32; 1]) -> u32 {
        let host = self.host();
        if !host.streams.contains_key(&context) && !host.roots.contains(&context) {
            return BAD_ARGUMENT;
        }
        self.host().context = context;
        OK
    }

    fn go_on(&mut self, [stream]: [u32; 1]) -> u32 {
        let Some(stream) = self.stream().filter(|_| stream == 0) else {
            return BAD_ARGUMENT;
        };
        if stream.blocked || stream.paused || stream.forwarded.is_none() {
            stream.unblocked |= stream.blocked;
            stream.blocked = false;
            stream.paused = false;
            stream.forward();
        }
        OK
    }

    fn buffer(&mut self, [kind, start, size, out, out_size]: [u32; 5]) -> u32 {
        let bytes = match kind {
            0 => self.stream().map(|stream| stream.buffer.clone()),
            1 => self.stream().map(|stream| stream.passing.clone()),
            4 => self.answer().map(|(_, body)| body),
            7 => Some(self.host().configuration.clone()),
            _ => None,
        };
        let (Some(bytes), Some(end)) = (bytes, start.checked_add(size)) else {
            return NOT_FOUND;
        };
        let (start, end) = (start as usize, (end as usize));
        match bytes.get(start..end.min(bytes.len())) {
            // As in the host, nothing is handed over where there is nothing.
            None | Some([]) => OK,
            Some(bytes) => self.give(bytes, out, out_size),
        }
    }

    fn pairs(&mut self, [map, out, out_size]: [u32; 3]) -> u32 {
        let answer = self.answer().filter(|_| map == 6);
        let answer = answer.map(|(status, _)| vec![(b":status".to_vec(), status.into())]);
        let pairs = answer.or_else(|| {
            self.stream().and_then(|stream| match map {
                // Once they have gone ahead, request headers cannot be seen any more.
                0 if stream.forwarded.is_some() => Some(Pairs::new()),
                0 => Some(stream.headers.clone()),
                2 => Some(stream.response.clone()),
                _ => None,
            })
        });
        match pairs {
            None => BAD_ARGUMENT,
            Some(pairs) if pairs.is_empty() => self.give(&[], out, out_size),
            Some(pairs) => self.give(&pack(&pairs), out, out_size),
        }
    }

    fn remove_header(&mut self, [map, name, size]: [u32; 3]) -> u32 {
        let name = self.read(name, size);
        match self.stream().and_then(|stream| stream.editable(map)) {
            None => BAD_ARGUMENT,
            Some(headers) => {
                headers.retain(|(known, _)| *known != name);
                OK
            }
        }
    }

    fn set_header(&mut self, [map, name, size, value, value_size]: [u32; 5]) -> u32 {
        let (name, value) = (self.read(name, size), self.read(value, value_size));
        match self.stream().and_then(|stream| stream.editable(map)) {
            None => BAD_ARGUMENT,
            Some(headers) => {
                headers.retain(|(known, _)| *known != name);
                headers.push((name, value));
                OK
            }
        }
    }

    fn set_buffer(&mut self, [kind, start, size, bytes, bytes_size]: [u32; 5]) -> u32 {
        let bytes = self.read(bytes, bytes_size);
        let Some(stream) = self.stream().filter(|_| start == 0) else { return BAD_ARGUMENT };
        let buffer = match kind {
            0 => &mut stream.buffer,
            1 => &mut stream.passing,
            _ => return BAD_ARGUMENT,
        };
        let size = (size as usize).min(buffer.len());
        buffer.splice(..size, bytes);
        OK
    }

    fn property(&mut self, [path, size, out, out_size]: [u32; 4]) -> u32 {
        let path = self.read(path, size);
        let value = match &*path {
            b"plugin_name" => Some(self.host().plugin.clone()),
            b"response\0code_details" => self.stream().map(|stream| stream.details.clone().into()),
            _ => None,
        };
        value.map_or(NOT_FOUND, |value| self.give(&value, out, out_size))
    }

    fn set_property(&mut self, [path, size, value, value_size]: [u32; 4]) -> u32 {
        let (path, value) = (self.read(path, size), self.read(value, value_size));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        match self.stream() {
            None => NOT_FOUND,
            Some(stream) => {
                stream.state.insert(text(path), text(value));
                OK
            }
        }
    }

    fn shared(&mut self, [key, size, out, out_size, cas]: [u32; 5]) -> u32 {
        let key = self.read(key, size);
        self.let_others();
        let found = self.host().shared.get(&key);
        let Some((value, version)) = found else {
            return NOT_FOUND;
        };
        self.write(cas, &version.to_le_bytes());
        self.give(&value, out, out_size)
    }

    fn set_shared(&mut self, [key, size, value, value_size, cas]: [u32; 5]) -> u32 {
        let (key, value) = (self.read(key, size), self.read(value, value_size));
        self.let_others();
        self.host().shared.set(&key, &value, cas)
    }

    fn let_others(&mut self) {
        if let Some((turns, seat)) = self.host().turns.clone() {
            turns.pass(seat);
        }
    }

    /// The answer that is being told, for the context that asked.
    fn answer(&mut self) -> Option<(&'static str, Vec<u8>)> {
        let context = self.host().context;
        let (owner, answer) = self.host().answer.clone()?;
        answer.filter(|_| owner == context)
    }

    fn define(&mut self, [kind, name, size, out]: [u32; 4]) -> u32 {
        let name = String::from_utf8(self.read(name, size)).unwrap();
        if kind > 2 {
            return BAD_ARGUMENT;
        }
        let metrics = &mut self.host().metrics;
        let known = metrics.iter().position(|metric| metric.name == name);
        let at = known.unwrap_or_else(|| {
            metrics.push(Metric { kind, name, values: Vec::new() });
            metrics.len() - 1
        });
        self.write(out, &u32::try_from(at).unwrap().to_le_bytes());
        OK
    }

    fn ask(&mut self, arguments: [u32; 10]) -> u32 {
        let [cluster, cluster_size, headers, headers_size, body, body_size, _, _, timeout, out] =
            arguments;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let cluster = text(self.read(cluster, cluster_size));
        let headers = unpack(&self.read(headers, headers_size));
        let body = String::from_utf8_lossy(&self.read(body, body_size)).into_owned();
        let has = |name: &str| headers.iter().any(|(known, _)| known == name.as_bytes());
        let known = ["approver", "ratelimit"].contains(&&*cluster);
        if !(known && has(":method") && has(":path") && has(":authority")) {
            return BAD_ARGUMENT;
        }
        let host = self.host();
        host.asked += 1;
        let token = host.asked;
        let owner = host.context;
        host.callouts.push(Callout { token, owner, cluster, headers, body, timeout });
        self.write(out, &token.to_le_bytes());
        OK
    }

    fn reply(&mut self, arguments: [u32; 8]) -> u32 {
        let [status, details, details_size, body, body_size, headers, headers_size, _] = arguments;
        let details = self.read(details, details_size);
        let reply = Reply {
            status,
            details: String::from_utf8(details).unwrap(),
            body: self.read(body, body_size),
            headers: unpack(&self.read(headers, headers_size)),
        };
        match self.stream() {
            None => BAD_ARGUMENT,
            Some(stream) => {
                // A second one is none: Envoy has answered.
                stream.reply.get_or_insert(reply);
                OK
            }
        }
    }
}

/// Count, then the sizes of every name and value, then names and values, each with a NUL.
fn pack(pairs: &Pairs) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let mut bytes = size(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(size(name.len()));
        bytes.extend(size(value.len()));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

fn unpack(bytes: &[u8]) -> Pairs {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut data = 4 + word(0) * 8;
    let mut text = |size: usize| {
        let text = bytes[data..data + size].to_vec();
        data += size + 1;
        text
    };
    (0..word(0)).map(|at| (text(word(4 + at * 8)), text(word(8 + at * 8)))).collect()
}
