//! A game container that tries to connect to everything.

use std::collections::BTreeMap;
use std::path::Path;

use crate::deploy::{Docker, found};
use crate::support::dockerd::Dockerd;

/// Connects to each address and port at once, asks for a page (Redis for a sign of life), and prints what it got.
const TRY: &str = r#"
try() {
    timeout 2 bash -c '
        exec 3<>"/dev/tcp/$0/$1" || exit
        [ "$1" = 6379 ] && printf "PING\r\n" >&3 || printf "GET / HTTP/1.0\r\n\r\n" >&3
        last=
        while read -t 1 -r line <&3; do last=$line; done
        echo "$0 $1 $last"' "$1" "$2" 2>/dev/null
}
while [ $# -gt 0 ]; do try "$1" "$2" & shift 2; done
wait
"#;

/// Makes the image of a game engine that also has a shell.
pub fn import(dockerd: &Dockerd, image: &str) {
    let programs = ["bash", "timeout"].map(|name| (format!("bin/{name}"), found(name)));
    let mut programs: Vec<(&str, &Path)> =
        programs.iter().map(|(name, program)| (name.as_str(), program.as_path())).collect();
    programs.push(("program", Path::new(env!("CARGO_BIN_EXE_startjobs"))));
    dockerd.import_programs(image, &programs, &["ENV PATH=/bin", r#"ENTRYPOINT ["/program","engine"]"#]);
}

/// What can be connected to from inside a container, each with the last line it answers.
pub fn reaches(docker: &Docker, container: &str, targets: &[(String, u16)]) -> BTreeMap<(String, u16), String> {
    let mut words =
        vec!["exec", container, "bash", "-c", TRY, "try"].into_iter().map(str::to_owned).collect::<Vec<_>>();
    words.extend(targets.iter().flat_map(|(address, port)| [address.clone(), port.to_string()]));
    let said = docker.text(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let lines = said.lines().filter_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (address, port) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(((address, port), words.next().unwrap_or_default().trim().to_owned()))
    });
    lines.collect()
}
