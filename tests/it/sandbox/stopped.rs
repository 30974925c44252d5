//! How long a container has to end is its own, by the engine's account of what it did.

use std::time::Duration;

use serde_json::Value;
use startjobs::engine::{Engine, Sandbox};

use super::Rig;

/// What the engine did to a container, in order: the signals that it sent, and the exit code.
fn ending(rig: &Rig, id: &str) -> (Vec<(String, i64)>, String) {
    let events = rig.dockerd.events();
    let of_it = events.iter().filter(|event| event["Actor"]["ID"] == *id);
    let (mut signals, mut code) = (Vec::new(), String::new());
    for event in of_it {
        let attribute = |name: &str| event["Actor"]["Attributes"][name].as_str().unwrap_or_default().to_owned();
        match event["Action"].as_str() {
            Some("kill") => signals.push((attribute("signal"), event["timeNano"].as_i64().expect("a time"))),
            Some("die") => code = attribute("exitCode"),
            _ => {}
        }
    }
    (signals, code)
}

#[tokio::test]
async fn a_container_ends_within_its_own_grace_or_by_force() {
    let Some(rig) = Rig::start_with(&[]) else { return };
    let within = |seconds| Sandbox { stop_grace: Duration::from_secs(seconds), ..Sandbox::default() };
    let (stubborn, _) = rig.run("rtm-stubborn", &["NEVER_ENDS=1"], within(1)).await;
    let (slow, _) = rig.run("rtm-slow", &["SLOW_TO_END=1500"], within(30)).await;
    let (once, _) = rig.run("rtm-once", &["NEVER_ENDS=1"], within(0)).await;
    for id in [&stubborn, &slow, &once] {
        rig.engine.stop(id).await.expect("it is stopped");
        assert_eq!(rig.inspect(id)["State"]["Running"], Value::Bool(false));
        rig.engine.stop(id).await.expect("one that has ended is a success");
    }
    let (signals, code) = ending(&rig, &stubborn);
    let [(term, asked), (kill, forced)] = signals.as_slice() else { panic!("{signals:?}") };
    assert_eq!((term.as_str(), kill.as_str(), code.as_str()), ("15", "9", "137"));
    let grace = (forced - asked) / 1_000_000;
    assert!((950..9_000).contains(&grace), "its second, and not the ten of any other container: {grace} ms");
    let (signals, code) = ending(&rig, &slow);
    assert_eq!((signals.len(), signals[0].0.as_str(), code.as_str()), (1, "15", "0"), "it had the time to end");
    let (signals, code) = ending(&rig, &once);
    assert_eq!((signals.last().map(|(signal, _)| signal.as_str()), code.as_str()), (Some("9"), "137"));
    rig.engine.stop("rtm-gone").await.expect("one that is gone is a success");
}
