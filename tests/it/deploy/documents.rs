//! The commands of the documents: each is run here, in order, or says in its first line what it needs.

use std::path::Path;
use std::process::Command;

use startjobs::embedded::redis_server::RedisServer;

use super::{STARTJOBS, Surroundings, root, shown, temporary, text_of};
use crate::support::scrape::free_port;

/// One fenced block of shell commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its text.
    pub text: String,
    /// What it needs, as its first line says.
    pub needs: Option<String>,
}

/// The blocks of a document, in order.
pub fn blocks(document: &str) -> Vec<Block> {
    let text = text_of(document);
    let mut found = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("\n```sh\n") {
        let (block, behind) =
            after.split_once("\n```").unwrap_or_else(|| panic!("{document}: a block without its end"));
        let needs = block.lines().next().and_then(|line| line.strip_prefix("# Needs ")).map(str::to_owned);
        found.push(Block { text: block.to_owned(), needs });
        rest = behind;
    }
    found
}

/// A shell in which the documents' commands run: the binary under test is `startjobs`, the settings are those of the
/// fleet.
pub struct Shell<'a> {
    pub fleet: &'a Surroundings,
    /// Further variables.
    pub variables: &'a [(&'a str, &'a str)],
}

impl Shell<'_> {
    /// Runs a block, which must succeed; what it printed.
    pub fn run(&self, block: &str) -> String {
        let tools = Path::new(STARTJOBS).parent().expect("it is in a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", block])
            .current_dir(root())
            .env("PATH", format!("{tools}:{path}"))
            .envs(self.fleet.variables.iter().map(|(name, value)| (name, value)))
            .envs(self.variables.iter().copied())
            .output()
            .expect("bash is there");
        assert!(output.status.success(), "{block}\n{}\n{}", shown(&output), self.fleet.logs());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
fn the_commands_of_the_operations_document_run() {
    let redis = RedisServer::start().expect("redis-server starts");
    let http = format!("127.0.0.1:{}", free_port());
    // A simulated engine has no events: a game that is stopped is removed by the next run.
    let prompt = ("reconcile-interval", "1s");
    let mut fleet = Surroundings::new(&[("redis-url", &redis.url()), ("strict", "on"), ("http-addr", &http), prompt]);
    fleet.replica();
    let secrets = temporary();
    let folder = secrets.path().join("secrets");
    let variables = [("SECRETS", folder.to_str().expect("text")), ("STARTJOBS_REDIS_PASSWORD_FILE", "none")];
    let shell = Shell { fleet: &fleet, variables: &variables };
    let mut ran = 0;
    // The first night has a test of its own.
    for block in blocks("docs/operations.md") {
        if let Some(needs) = block.needs {
            let is_elsewhere = ["root", "Docker", "systemd", "Rust", "`startjobs dev`", "two hosts"]
                .iter()
                .any(|one| needs.starts_with(one));
            assert!(is_elsewhere, "the test has what this needs: {needs}");
        } else {
            shell.run(&block.text);
            ran += 1;
        }
    }
    assert!(ran >= 7, "the blocks are found: {ran}");
    fleet.drain();
}

#[test]
fn every_command_for_kubernetes_says_that_it_needs_a_cluster() {
    let blocks = blocks("docs/kubernetes.md");
    assert!(blocks.len() >= 3);
    for block in blocks {
        let needs = block.needs.as_deref().unwrap_or_default();
        assert!(needs.starts_with("a cluster"), "{}", block.text);
    }
    let first = text_of("docs/kubernetes.md").lines().nth(2).map(str::to_owned).unwrap_or_default();
    assert!(first.starts_with("**Where Docker is"), "{first}");
}

#[test]
fn every_file_that_the_documents_name_is_there() {
    for document in ["docs/operations.md", "docs/kubernetes.md", "docs/migration.md", "docs/hosts.md"] {
        let text = text_of(document);
        let is_part = |c: char| c.is_ascii_alphanumeric() || "/._@-".contains(c);
        for (at, _) in text.match_indices("deploy/") {
            if text[..at].ends_with(['/', '.']) {
                continue;
            }
            let name: String = text[at..].chars().take_while(|c| is_part(*c)).collect();
            let name = name.trim_end_matches(['.', '/']);
            // Made by make-secrets.sh and make-certificates.sh; and a resource of Kubernetes.
            let is_made = name.starts_with("deploy/secrets");
            assert!(is_made || root().join(name).exists(), "{document} names {name}");
        }
    }
}
