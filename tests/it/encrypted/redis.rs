//! Jobs and commands over TLS, and a server that goes away.

use super::{borrowed, command, redis, said};
use crate::support::certificates::Certificates;
use crate::support::world::World;

#[tokio::test]
async fn a_fleet_works_over_tls_and_survives_a_restart_of_redis() {
    let certificates = Certificates::new(&["localhost", "127.0.0.1"]);
    let (server, port) = redis(&certificates, &["--requirepass", "s3same"]);
    let mut settings = certificates.settings("redis");
    settings.push(("redis-url".to_owned(), format!("rediss://:s3same@localhost:{port}/2")));
    let mut world = World::on(server, &borrowed(&settings)).await;
    world.replica(&[]);
    world.replica(&[]);
    for game in 0..10 {
        world.send(&format!("before-{game}"), "galaxy/engine:1").await;
    }
    world.settled().await;

    world.redis.kill();
    world.redis.start_again().expect("redis-server starts again");
    world.eventually("Redis answers again", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
    for game in 0..10 {
        world.send(&format!("after-{game}"), "galaxy/engine:1").await;
    }
    world.settled().await;
    world.at_rest().await;

    let url = settings.pop().expect("the URL").1;
    settings.push(("redis-url".to_owned(), url.replace("//", "//default").replace("rediss", "valkeys")));
    settings.push(("engine".to_owned(), "simulated".to_owned()));
    for arguments in [
        &["status"][..],
        &["check", "--min-replicas", "2"],
        &["replicas"],
        &["send", "--game", "by-hand", "--image", "galaxy/engine:1", "--wait"],
        &["audit", "--since", "0"],
        &["dead", "list"],
        &["doctor"],
    ] {
        let output = command(arguments, &settings, &[]);
        let said = said(&output);
        assert!(output.status.success() && !said.contains("s3same"), "{arguments:?}: {said}");
        if arguments == ["doctor"] {
            assert!(said.contains("TLS, trusting a named authority, with a client certificate"), "{said}");
        }
    }
    assert_all_encrypted(&mut world, port).await;
    assert!(!world.logs().contains("s3same"), "{}", world.logs());
}

/// Nobody came in by the other port, which is there for the start of the server.
async fn assert_all_encrypted(world: &mut World, port: u16) {
    // Two connections of each replica, two of the lobby; each comes back in its own time.
    world.eventually("everybody is back", async |world: &World| connected(world).await.len() >= 6).await;
    for line in connected(world).await {
        assert!(line.contains(&format!("laddr=127.0.0.1:{port} ")), "{line}");
    }
}

/// Who uses the database of the fleet.
async fn connected(world: &World) -> Vec<String> {
    let reply = world.redis(&["CLIENT", "LIST"]).await;
    let list = reply.as_string().expect("a text");
    list.lines().filter(|line| line.contains(" db=2 ")).map(str::to_owned).collect()
}

#[test]
fn the_bench_measures_a_server_behind_tls() {
    let certificates = Certificates::new(&["localhost"]);
    let (_server, port) = redis(&certificates, &[]);
    let mut arguments = ["bench", "drain", "--jobs", "500", "--redis-url"].map(str::to_owned).to_vec();
    arguments.push(format!("rediss://localhost:{port}"));
    arguments.extend(certificates.settings("redis").into_iter().flat_map(|(name, value)| [format!("--{name}"), value]));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = command(&arguments, &[], &[("PATH", &std::env::var("PATH").unwrap_or_default())]);
    let told = said(&output);
    assert!(output.status.success() && told.contains("every entry was answered exactly once"), "{told}");

    // Without its certificate and key.
    let output = command(&arguments[..arguments.len() - 4], &[], &[]);
    let told = said(&output);
    assert!(told.contains("requires a client certificate; set redis-tls-cert-file"), "{told}");
}
