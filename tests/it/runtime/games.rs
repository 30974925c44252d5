//! Games on one host: shown, stopped, started again.

use super::{PROMPT, ends, ids, json, record, run, said, says, text};
use crate::support::world::World;

const IMAGE: &str = "galaxy/engine:1";

#[tokio::test]
async fn a_game_that_has_ended_is_shown_as_stopped() {
    let mut world = World::with(&[PROMPT]).await;
    world.replica(&[]);
    let job = world.send("ended", IMAGE).await;
    world.send("runs", IMAGE).await;
    world.settled().await;
    let list = json(&world, &["runtime", "list"]);
    assert_eq!((ids(&list), &list["is_whole"]), (vec!["ended", "runs"], &true.into()), "{list}");
    let table = text(&world, &["runtime", "list"]);
    assert!(table.starts_with("GAME   STATE    HOST     CONTAINER") && table.lines().count() == 3, "{table}");
    assert!(table.contains("  galaxy/engine:1\n") || table.contains("docker.io/galaxy/engine:1\n"), "{table}");

    let container = ends(&world, "ended").await;
    says(&mut world, "ended", "stopped").await;
    world
        .eventually("the game has left the list of its host", async |world: &World| {
            ids(&json(world, &["runtime", "list"])) == ["runs"]
        })
        .await;
    let stopped = json(&world, &["runtime", "list", "--state", "stopped"]);
    assert_eq!(ids(&stopped), ["ended"]);
    let game = &stopped["games"][0];
    assert_eq!((&game["container_id"], &game["host"]), (&container.as_str().into(), &"default".into()), "{game}");
    assert_eq!((game["exit_code"].is_i64(), &game["stopped_by"]), (true, &"".into()), "{game}");
    assert!(text(&world, &["runtime", "list", "--state", "stopped"]).contains("stopped (exit code "));
    assert_eq!(ids(&json(&world, &["runtime", "list", "--host", "elsewhere"])), [""; 0]);

    // Its job was answered with a success, and still is.
    let story = json(&world, &["inspect", "ended"]);
    assert!(story["sentence"].as_str().expect("text").starts_with("stopped since "), "{story}");
    assert_eq!((&story["jobs"][0]["outcome"], story["jobs"].as_array().map(Vec::len)), (&"success".into(), Some(1)));
    assert_eq!(story["host_standing"], "alive");
    let story = json(&world, &["inspect", &job.to_string()]);
    assert_eq!((&story["stored"]["outcome"], &story["record"]["state"]), (&"success".into(), &"stopped".into()));
    let shown = text(&world, &["runtime", "show", "ended"]);
    assert!(shown.contains("host default: alive, heard of ") && shown.contains("  state  "), "{shown}");
    assert_eq!(said(&run(&world, &["runtime", "show", "never"])).0, Some(1));

    world.send("ended", IMAGE).await;
    world.settled().await;
    assert_eq!(ids(&json(&world, &["runtime", "list"])), ["ended", "runs"], "it runs again");
}

#[tokio::test]
async fn a_job_that_is_held_before_its_game_has_a_record_is_shown() {
    let mut world = World::with(&[]).await;
    let job = world.send("game", IMAGE).await;
    let (jobs, group) = (world.settings.stream.jobs.clone(), world.settings.stream.group.clone());
    world.redis(&["XGROUP", "CREATE", &jobs, &group, "0"]).await;
    world.redis(&["XREADGROUP", "GROUP", &group, "one", "STREAMS", &jobs, ">"]).await;
    let story = json(&world, &["inspect", "game"]);
    assert_eq!(story["sentence"], format!("no record yet: one holds job {job}, delivery 1"), "{story}");
    assert_eq!(story["open_job"]["entry_id"], job.to_string(), "{story}");
}

#[tokio::test]
async fn a_game_that_an_operator_stops_is_started_by_a_new_job_only() {
    let mut world = World::with(&[PROMPT]).await;
    let replica = world.replica(&[]);
    world.send("game", IMAGE).await;
    world.settled().await;
    let container = record(&world, "game").await["container_id"].clone();

    let (code, _, errors) = said(&run(&world, &["runtime", "stop", "game"]));
    assert_eq!(code, Some(2), "there is no terminal to ask on: {errors}");
    assert!(errors.contains("give --yes"), "{errors}");
    let (code, _, errors) = said(&run(&world, &["runtime", "stop", "never", "--yes"]));
    assert!(code == Some(1) && errors.starts_with("startjobs: there is no game never\n"), "{errors}");

    let stopped = text(&world, &["runtime", "stop", "game", "--yes", "--by", "ann, INC-42"]);
    assert_eq!(stopped, "game is stopped, and host default has no container of it\n");
    let log = world.sim_log().await;
    assert_eq!((log.running(), log.existing(), log.created("game").len()), (0, 0, 1));
    let stopped = record(&world, "game").await;
    assert_eq!((&stopped["state"], &stopped["stopped_by"]), (&"stopped".into(), &"ann, INC-42".into()), "{stopped}");
    assert_eq!((&stopped["container_id"], stopped.get("condemned")), (&container, None), "{stopped}");
    world
        .logged(replica, "who has stopped it", |log| {
            log.with("removed a stopped game")
                .any(|line| line["stopped_by"] == "ann, INC-42" && line["game_id"] == "game")
        })
        .await;
    assert!(text(&world, &["inspect", "game"]).contains("stopped by ann, INC-42"));

    let (code, _, errors) = said(&run(&world, &["runtime", "stop", "game", "--yes"]));
    let says = "startjobs: game game does not run: its record says stopped\n";
    assert!(code == Some(1) && errors.starts_with(says), "{errors}");

    let job = world.send("game", IMAGE).await;
    world.settled().await;
    assert_eq!(world.outcome(job).await.get("outcome"), "success");
    assert_ne!(record(&world, "game").await["container_id"], container);
}

#[tokio::test]
async fn a_start_that_is_stopped_on_its_way_is_answered_so() {
    let mut world = World::with(&[PROMPT]).await;
    world.replica(&[]);
    let job = world.send("slow", "sim/slow:3s").await;
    says(&mut world, "slow", "starting").await;
    world
        .eventually("the start is on the list of its host", async |world: &World| {
            ids(&json(world, &["runtime", "list", "--state", "starting"])) == ["slow"]
        })
        .await;
    let (code, told, errors) = said(&run(&world, &["runtime", "stop", "slow", "--yes"]));
    assert!(told.starts_with("slow is stopped"), "{code:?} {told}{errors}");
    world.settled().await;
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "game_stopped"), "{outcome:?}");
    assert!(outcome.get("error_message").contains("op@"), "it says who: {outcome:?}");
    world.eventually("no container is left", async |world: &World| world.sim_log().await.existing() == 0).await;
    world
        .eventually("nothing is condemned", async |world: &World| {
            record(world, "slow").await.get("condemned").is_none()
        })
        .await;
    world.at_rest().await;
}

#[tokio::test]
async fn a_list_that_is_too_long_says_so() {
    let world = World::new().await;
    let script = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'rtm:{g' .. i .. '}:rec', ARGV[2]) end";
    let stopped = r#"{"fence":1,"owner":"w","lease_until_ms":0,"updated_at_ms":4000,"attempt":1,"state":"stopped","image_ref":"i","stream":"s","source_ref":"5-1","op_source":"o","host":"h","engine":"e","stopped_by":"a\u001b[31m"}"#;
    world.redis(&["EVAL", script, "0", "12000", stopped]).await;
    world.redis(&["SET", "rtm:{spoiled}:rec", "x"]).await;
    let output = run(&world, &["runtime", "list", "--state", "stopped", "--timeout", "60s"]);
    let (code, table, errors) = said(&output);
    let listed = table.lines().count() - 1;
    assert_eq!(code, Some(0));
    assert!((9_999..=11_000).contains(&listed), "{listed}");
    assert!(errors.contains("there are more: the first 10"), "{errors}");
    assert!(!table.contains('\u{1b}'), "nothing that a terminal obeys");
    let (_, table, errors) = said(&run(&world, &["runtime", "list"]));
    assert_eq!((table.lines().count(), errors.as_str()), (1, "startjobs: no such game\n"));
}
