//! Which of its failures an engine blames on an image, as a real one says it.

use std::os::unix::fs::PermissionsExt;

use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::{ContainerSpec, Engine};

use crate::docker_engine::{Bench, code, game_engine, spec};

#[tokio::test]
async fn an_image_that_can_never_start_is_not_blamed_on_the_engine() {
    use ErrorCode::{ContainerConfigInvalid, ContainerStartFailed};
    let Some(bench) = Bench::new() else { return };
    let (dir, program) = game_engine();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "no program").expect("the directory is ours");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).expect("the file is ours");
    let entry_point = r#"ENTRYPOINT ["/program"]"#;
    let rows: [(&[&str], ErrorCode, &str); 10] = [
        (&[entry_point, "USER nosuch"], ContainerStartFailed, "unable to find user nosuch"),
        (&[entry_point, "USER 0:nosuch"], ContainerStartFailed, "unable to find group nosuch"),
        (&[entry_point, "USER 99999999999"], ContainerStartFailed, "uids and gids"),
        (&[entry_point, "WORKDIR /program/x"], ContainerConfigInvalid, "not a directory"),
        (&[entry_point, "WORKDIR /program"], ContainerConfigInvalid, "not a directory"),
        (&[entry_point, "VOLUME /program"], ContainerConfigInvalid, "cannot mount volume over existing file"),
        (&[r#"ENTRYPOINT ["/nope"]"#], ContainerStartFailed, "no such file or directory"),
        (&[r#"ENTRYPOINT ["nope"]"#], ContainerStartFailed, "executable file not found"),
        (&[r#"ENTRYPOINT ["/plain"]"#], ContainerStartFailed, "permission denied"),
        (&["CMD []"], ContainerConfigInvalid, "No command specified"),
    ];
    for (index, (changes, want, words)) in rows.into_iter().enumerate() {
        let image = format!("startjobs.test/bad{index}:1");
        bench.dockerd.import_programs(&image, &[("program", &program), ("plain", &plain)], changes);
        let spec = ContainerSpec { image, ..spec(&format!("rtm-{index}"), &[]) };
        let refused = match bench.engine.create(&spec).await {
            Ok(id) => bench.engine.start(&id).await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(code(&refused), Some(want), "{changes:?}: {refused:?}");
        assert!(refused.as_ref().is_err_and(|error| error.to_string().contains(words)), "{changes:?}: {refused:?}");
    }
}
