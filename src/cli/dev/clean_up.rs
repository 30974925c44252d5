//! `startjobs dev clean-up`: removes what a fleet on this machine left behind, after its end.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{exit, output, process, users_docker};
use crate::embedded::engine_remains::EngineRemains;
use crate::embedded::leftovers::{self, Leftovers, OnEngine};

/// Wait for the end of stdin, then remove what a fleet on this machine left behind
///
/// A guard of this program runs it.
#[derive(Debug, Args)]
pub(super) struct CleanUpArgs {
    #[arg(long)]
    directory: Option<PathBuf>,
    #[arg(long)]
    docker_host: Option<String>,
    #[arg(long)]
    host_id: Option<String>,
    #[arg(long)]
    image: Option<String>,
    #[arg(long, requires = "bridge")]
    dockerd_directory: Option<PathBuf>,
    #[arg(long, requires = "dockerd_directory")]
    bridge: Option<String>,
}

/// What there is to remove.
#[derive(Debug, PartialEq, Eq)]
enum Remains {
    Engine(EngineRemains),
    Others(Leftovers),
}

impl CleanUpArgs {
    fn remains(self) -> Remains {
        let Self { directory, docker_host, host_id, image, dockerd_directory, bridge } = self;
        if let Some((directory, bridge)) = dockerd_directory.zip(bridge) {
            return Remains::Engine(EngineRemains { directory, bridge });
        }
        let engine = docker_host.zip(host_id).map(|(docker_host, host_id)| OnEngine { docker_host, host_id, image });
        Remains::Others(Leftovers { directory, engine })
    }
}

/// Runs it.
pub(super) fn run(args: CleanUpArgs) -> ExitCode {
    let remains = args.remains();
    process::block_on(async move {
        let removed = match remains {
            Remains::Engine(remains) => leftovers::remove_engine_after_parent(&remains).await,
            Remains::Others(leftovers) => {
                // The files are where the parent found them: in the environment.
                let tls = users_docker::find().ok().and_then(|docker| docker.tls);
                leftovers::remove_after_parent(&leftovers, tls.as_ref()).await
            }
        };
        match removed {
            Ok(()) => exit::DONE,
            Err(text) => {
                output::complain(&text, "`docker ps --all` and the temporary directory show what is left");
                exit::FAILED
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn the_guards_command_line_says_what_it_was_made_from() {
        let engine = |image: Option<&str>| OnEngine {
            docker_host: "unix:///s".into(),
            host_id: "startjobs-dev-1".into(),
            image: image.map(str::to_owned),
        };
        let directory = Some(PathBuf::from("/tmp/startjobs-dev-x"));
        let own = EngineRemains { directory: "/tmp/startjobs-host-1-x".into(), bridge: "sjh0".to_owned() };
        let others = [
            Leftovers { directory: directory.clone(), engine: None },
            Leftovers { directory: None, engine: Some(engine(None)) },
            Leftovers { directory, engine: Some(engine(Some("an/image:1"))) },
        ];
        let others = others.map(|leftovers| (leftovers.arguments(), Remains::Others(leftovers)));
        for (arguments, remains) in others.into_iter().chain([(own.arguments(), Remains::Engine(own))]) {
            assert_eq!(arguments[..2], ["dev", "clean-up"]);
            let command = CleanUpArgs::augment_args(Command::new("clean-up"));
            let matches = command.try_get_matches_from(&arguments[1..]).expect("it is understood");
            let args = CleanUpArgs::from_arg_matches(&matches).expect("every flag has its field");
            assert_eq!(args.remains(), remains);
        }
    }
}
