//! One section of changes: `[defaults]` or an `[[image]]`.

use toml::de::{DeTable, DeValue};

use super::reading::{At, Reading};
use super::{TOP_KEYS, capabilities, mounts, values};
use crate::engine::sandbox::Mount;
use crate::policy::change::{Change, Layer, Set};
use crate::policy::glob::Glob;
use crate::quantity::size_text;
use crate::secret::Secret;

/// The keys of a section, in the order of the documentation.
pub(super) const KEYS: [&str; 18] = [
    "memory",
    "cpus",
    "pids",
    "user",
    "capabilities",
    "no-new-privileges",
    "read-only",
    "tmpfs",
    "network",
    "mounts",
    "log-max-size",
    "log-files",
    "ulimits",
    "runtime",
    "gpus",
    "stop-grace",
    "env",
    "labels",
];

/// The limits of single processes, without `RLIMIT_`.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// What every game engine gets.
const OUR_ENV: [&str; 4] = ["GAME_ID", "PORT", "TRACEPARENT", "TRACESTATE"];
/// How the labels begin by which a fleet knows its containers.
const OUR_LABELS: &str = "rtm.";

const ENTRIES_MAX: usize = 256;
const MOUNTS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 32 << 10;
/// The longest piece of a path that is shown.
const SHOWN_CHARS: usize = 200;

impl Reading<'_> {
    /// What a section changes; and its `match`, which only images have.
    pub(super) fn section(&mut self, section: &str, table: &DeTable<'_>) -> (Option<Vec<Glob>>, Layer) {
        let (mut globs, mut layer) = (None, Layer::new());
        for (key, at) in self.entries(section, table) {
            match key {
                "match" if section != "defaults" => globs = self.globs(&at),
                "match" => self.refuse(&at, "is not a key of the defaults, which are for every image"),
                "allowed-images" | "require-digest" | "containers-max" => {
                    self.refuse_key(
                        &at,
                        "is about all images; write it at the top of the file, before the first section",
                    );
                }
                "tmpfs" | "ulimits" | "env" | "labels" => self.entries_of(key, &at, &mut layer),
                _ if KEYS.contains(&key) => {
                    let line = at.line;
                    layer.extend(self.change(key, &at).map(|change| Set { change, line }));
                }
                _ => self.unknown(key, &at, &KEYS),
            }
        }
        (globs, layer)
    }

    /// What a key changes that is no table.
    fn change(&mut self, key: &str, at: &At<'_>) -> Option<Change> {
        Some(match key {
            "memory" => Change::Memory(self.read(at, |value| values::or_off(value, values::memory))?),
            "cpus" => Change::Cpus(self.read(at, |value| values::or_off(value, values::cpus))?),
            "pids" => Change::Pids(self.read(at, |value| values::or_off(value, values::count(1, 4_194_304)))?),
            "user" => {
                let user = self.read(at, |value| values::or_off(value, values::user))?;
                if user.as_deref().is_some_and(|user| ["root", "0"].contains(&user.split(':').next().unwrap_or(user))) {
                    self.warn(at, "runs games as root inside their containers, also where the image does not");
                }
                Change::User(user)
            }
            "capabilities" => Change::Capabilities(self.capabilities(at)?),
            "no-new-privileges" => {
                let is_on = self.read(at, values::switch)?;
                if !is_on {
                    self.warn(at, "lets programs of the image with the set-user-id bit gain rights");
                }
                Change::NoNewPrivileges(is_on)
            }
            "read-only" => Change::ReadOnly(self.read(at, values::switch)?),
            "network" => Change::Network(self.read(at, |value| values::or_off(value, values::network))?),
            "mounts" => Change::Mounts(self.mounts(at)?),
            "log-max-size" => {
                let size = self.read(at, |value| values::or_off(value, values::log_size))?;
                if size.is_none() {
                    self.warn(at, "lets the log of a game fill the disk, unless the engine itself limits it");
                }
                Change::LogMaxSize(size)
            }
            "log-files" => Change::LogFiles(self.read(at, values::count(1, 1_000))?),
            "runtime" => Change::Runtime(self.read(at, |value| values::or_off(value, values::runtime))?),
            "gpus" => Change::Gpus(self.read(at, |value| values::or_off(value, values::gpus))?),
            "stop-grace" => Change::StopGrace(self.read(at, values::stop_grace)?),
            _ => return None,
        })
    }

    fn capabilities(&mut self, at: &At<'_>) -> Option<Vec<String>> {
        match capabilities::read(at.value) {
            Ok((kept, warnings)) => {
                for warning in warnings {
                    self.warn(at, warning);
                }
                Some(kept)
            }
            Err(problems) => {
                for problem in problems {
                    self.refuse_key(at, problem);
                }
                None
            }
        }
    }

    fn mounts(&mut self, at: &At<'_>) -> Option<Vec<Mount>> {
        let DeValue::Array(items) = at.value else {
            self.refuse(at, mounts::FORM);
            return None;
        };
        if items.len() > MOUNTS_MAX {
            self.refuse_key(at, format!("has more than {MOUNTS_MAX} mounts"));
            return None;
        }
        let mut read = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let (key, line) = (format!("{} {}", at.key, number + 1), self.line(Some(item.span())));
            let at = At { key, line, value: item.get_ref() };
            match mounts::read(at.value) {
                Ok((mount, warning)) => {
                    read.push(mount);
                    if let Some(warning) = warning {
                        self.warn(&at, warning);
                    }
                }
                Err(problem) => self.refuse_key(&at, problem),
            }
        }
        if let Some(twice) =
            read.iter().enumerate().find(|(at, one)| read[..*at].iter().any(|other| other.target == one.target))
        {
            self.refuse_key(at, format!("has the target {:?} twice", twice.1.target));
        }
        Some(read)
    }

    /// The entries of a key that is a table.
    fn entries_of(&mut self, key: &str, at: &At<'_>, layer: &mut Layer) {
        let DeValue::Table(table) = at.value else {
            return self.refuse_key(
                at,
                match key {
                    "tmpfs" => "is a table; write tmpfs = { \"/tmp\" = \"64MiB\" }",
                    "ulimits" => "is a table; write ulimits = { nofile = 1024 }",
                    "env" => "is a table; write env = { NAME = \"value\" }",
                    _ => "is a table; write labels = { \"example.team\" = \"blue\" }",
                },
            );
        };
        if table.len() > ENTRIES_MAX {
            return self.refuse_key(at, format!("has more than {ENTRIES_MAX} entries"));
        }
        for (name, at) in self.entries(&at.key, table) {
            let change = match key {
                "tmpfs" => self.tmpfs(name, &at),
                "ulimits" => self.ulimit(name, &at),
                "env" => self.env(name, &at),
                _ => self.label(name, &at),
            };
            let line = at.line;
            layer.extend(change.map(|change| Set { change, line }));
        }
    }

    fn tmpfs(&mut self, path: &str, at: &At<'_>) -> Option<Change> {
        const FORM: &str = "must be a size, such as \"64MiB\", or { size = \"64MiB\", exec = true, mode = \"1777\" }";
        let path = match mounts::tmpfs_path(path) {
            Ok(path) => path,
            Err(why) => {
                self.refuse_key(at, why);
                return None;
            }
        };
        let options = self.read(at, |value| {
            let DeValue::Table(table) = value else {
                let size = values::or_off(value, values::tmpfs_size)?;
                return Ok(size.map(|size| tmpfs_options(size, false, None)));
            };
            let of = |key: &str| table.get(key).map(toml::Spanned::get_ref);
            if table.iter().any(|(key, _)| !["size", "exec", "mode"].contains(&&**key.get_ref())) {
                return Err(FORM.to_owned());
            }
            let size = values::tmpfs_size(of("size").ok_or_else(|| FORM.to_owned())?)?;
            let exec = of("exec").map_or(Ok(false), values::switch)?;
            let mode = match of("mode") {
                None => None,
                Some(DeValue::String(mode)) if is_mode(mode) => Some(mode.to_string()),
                Some(_) => {
                    return Err(
                        "has a mode that is none; write three or four octal digits, such as \"1777\"".to_owned()
                    );
                }
            };
            Ok(Some(tmpfs_options(size, exec, mode.as_deref())))
        })?;
        Some(Change::Tmpfs(path, options))
    }

    fn ulimit(&mut self, name: &str, at: &At<'_>) -> Option<Change> {
        if !ULIMITS.contains(&name) {
            self.unknown(name, at, &ULIMITS);
            return None;
        }
        let limits = self.read(at, |value| values::or_off(value, values::ulimit))?;
        Some(Change::Ulimit(name.to_owned(), limits))
    }

    /// No problem of it shows the value.
    fn env(&mut self, name: &str, at: &At<'_>) -> Option<Change> {
        if self.is_key_of_a_section(name, at, "env") {
            return None;
        }
        let begins_well = !name.starts_with(|letter: char| letter.is_ascii_digit());
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !begins_well || !name.chars().all(plain) {
            self.refuse_key(at, "is not a name of the environment: write letters, digits and `_`, no digit first");
            return None;
        }
        if OUR_ENV.contains(&name) {
            self.refuse_key(at, "is given to every game by the replica; choose another name");
            return None;
        }
        match self.env_value(at.value) {
            Ok(value) => Some(Change::Env(name.to_owned(), value)),
            Err(advice) => {
                self.refuse_key(at, advice);
                None
            }
        }
    }

    fn env_value(&mut self, value: &DeValue<'_>) -> Result<Secret, String> {
        const FORM: &str = "must be a text, a number, true or false, or { file = \"/run/secrets/name\" }";
        let value = match value {
            DeValue::String(text) => {
                self.holds_values = true;
                text.to_string()
            }
            DeValue::Integer(number) => values::whole(number).ok_or_else(|| FORM.to_owned())?.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Table(table) if table.len() == 1 => {
                self.env_file(table.get("file").map(toml::Spanned::get_ref))?
            }
            _ => return Err(FORM.to_owned()),
        };
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("is longer than {}", size_text(VALUE_BYTES_MAX as u64)));
        }
        if value.contains('\0') {
            return Err("has a zero byte, which no environment can hold".to_owned());
        }
        Ok(Secret::new(value))
    }

    /// The content of a file that is named by its path, or as a credential.
    fn env_file(&mut self, named: Option<&DeValue<'_>>) -> Result<String, String> {
        const FORM: &str = "names no file; write { file = \"/run/secrets/name\" }, an absolute path, or the name of a \
                            credential of systemd";
        let Some(DeValue::String(path)) = named else { return Err(FORM.to_owned()) };
        if !(path.starts_with('/') || is_credential(path)) {
            return Err(FORM.to_owned());
        }
        self.files.push(path.to_string());
        let shown: String = path.chars().take(SHOWN_CHARS).collect();
        let content = (self.secret)(path).map_err(|why| format!("names the file {shown:?}, which {why}"))?;
        Ok(content.trim_end().to_owned())
    }

    /// Refuses what was meant for the section, and was written after the heading of one of its tables.
    fn is_key_of_a_section(&mut self, name: &str, at: &At<'_>, table: &str) -> bool {
        let key = name.replace('_', "-");
        let is_key = KEYS.contains(&key.as_str()) || TOP_KEYS.contains(&key.as_str()) || key == "match";
        if is_key {
            let advice = format!(
                "is in the table {table}, where it would not be the key {key} of the policy; write it above the heading of \
                 the table, or choose another name"
            );
            self.refuse_key(at, advice);
        }
        is_key
    }

    fn label(&mut self, name: &str, at: &At<'_>) -> Option<Change> {
        if self.is_key_of_a_section(name, at, "labels") {
            return None;
        }
        let is_plain = |letter: char| letter.is_ascii_graphic() && letter != '=';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
            self.refuse_key(at, "is not the name of a label: write visible ASCII without spaces and `=`");
            return None;
        }
        if name.starts_with(OUR_LABELS) {
            self.refuse_key(
                at,
                "begins with rtm., and by these labels the fleet knows its containers; choose another name",
            );
            return None;
        }
        let value = self.read(at, |value| match value {
            DeValue::String(text) if text.len() <= VALUE_BYTES_MAX && !text.contains('\0') => Ok(text.to_string()),
            _ => Err(format!("must be a text of at most {}, in quotes", size_text(VALUE_BYTES_MAX as u64))),
        })?;
        Some(Change::Label(name.to_owned(), value))
    }
}

/// The name of a file in the folder that systemd makes for a service.
fn is_credential(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    !name.is_empty() && !name.starts_with('.') && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain)
}

fn is_mode(mode: &str) -> bool {
    (3..=4).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit))
}

/// Nothing in it is a device or has the set-user-id bit; the bytes are exact.
fn tmpfs_options(size: u64, exec: bool, mode: Option<&str>) -> String {
    let exec = if exec { "exec" } else { "noexec" };
    let mode = mode.map_or_else(String::new, |mode| format!(",mode={mode}"));
    format!("rw,nosuid,nodev,{exec},size={size}{mode}")
}
