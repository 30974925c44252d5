//! Passwords reach the client and nothing else.

use proptest::prelude::*;
use startjobs::redis::Address;
use startjobs::secret::Secret;
use startjobs::settings::Settings;

use super::{file, good, problems, shown, sources};

#[test]
fn redis_urls_reach_the_client_whole_and_are_shown_without_password() {
    let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
    let socket = || Address::Unix("/run/r.sock".into());
    let table = [
        ("redis://h", tcp("h", 6_379), None, (None, None), "redis://h:6379"),
        ("REDIS://[::1]:7/3", tcp("[::1]", 7), Some(3), (None, None), "redis://[::1]:7/3"),
        ("valkey://u:a%40b@h/", tcp("h", 6_379), None, (Some("u"), Some("a@b")), "valkey://u:***@h:6379"),
        ("redis://:a@b:c@h:1", tcp("h", 1), None, (None, Some("a@b:c")), "redis://:***@h:1"),
        ("rediss://:a@h/1", tcp("h", 6_379), Some(1), (None, Some("a")), "rediss://:***@h:6379/1"),
        ("VALKEYS://u:a@h", tcp("h", 6_379), None, (Some("u"), Some("a")), "valkeys://u:***@h:6379"),
        ("redis+unix:///run/r.sock", socket(), None, (None, None), "redis+unix:///run/r.sock"),
        ("redis+unix://:x@/run/r.sock", socket(), None, (None, Some("x")), "redis+unix://:***@localhost/run/r.sock"),
    ];
    for (given, address, database, credentials, display) in table {
        let loaded = good(&[("redis-url", given)], &[]);
        let redis = &loaded.settings.redis;
        assert_eq!((&redis.address, redis.database), (&address, database), "{given}");
        assert_eq!((redis.user.as_deref(), redis.password.as_ref().map(Secret::expose)), credentials, "{given}");
        assert_eq!(redis.display_url, display);
        assert_eq!(shown(&loaded, "redis-url").0, display);
    }
}

#[test]
fn a_password_in_the_place_of_a_user_is_not_shown() {
    let refused = problems(&[("redis-url", "redis://sesame@h")], &[]);
    assert_eq!(refused[0].value.as_deref(), Some("redis://***@h"));
    assert!(!refused[0].to_string().contains("sesame"), "{refused:?}");
}

#[test]
fn a_password_file_is_one_line() {
    let (_directory, path) = file("p/ss w\u{f6}rd\r\n");
    let loaded = good(&[("redis-url", "redis://app@h"), ("redis-password-file", &path)], &[]);
    assert_eq!(loaded.settings.redis.user.as_deref(), Some("app"));
    assert_eq!(loaded.settings.redis.password.as_ref().map(Secret::expose), Some("p/ss w\u{f6}rd"));
    assert_eq!(loaded.settings.redis.display_url, "redis://app:***@h:6379");
    for contents in ["", "\n", "two\nlines\n"] {
        let (_directory, path) = file(contents);
        assert_eq!(problems(&[("redis-password-file", &path)], &[])[0].setting, "redis-password-file");
    }
}

#[test]
fn a_password_in_the_place_of_its_file_is_not_shown() {
    let refused = problems(&[("redis-password-file", "sesame")], &[]);
    assert_eq!(refused[0].value.as_deref(), Some("***"));
    // A path is shown.
    let refused = problems(&[("redis-password-file", "/no/such/file")], &[]);
    assert_eq!(refused[0].value.as_deref(), Some("/no/such/file"));
    let key = "-----BEGIN PRIVATE KEY-----\nsesame";
    let refused = problems(&[("redis-url", "rediss://h"), ("redis-tls-key-file", key)], &[]);
    assert!(refused.iter().all(|problem| !problem.to_string().contains("sesame")), "{refused:?}");
}

#[test]
fn a_file_that_holds_a_url_where_a_key_belongs_tells_no_password() {
    for contents in [
        "\"redis://u:sesame@h\" = 1\n",
        "redis://u:sesame@h\n",
        "jobs-stream = \"redis://u:sesame@h\"\n",
        "slots = \"u:sesame@redis:6379\"\n",
        "[\"redis://u:sesame@h\"]\nx = 1\n",
        "redis-url = [\"redis://u:sesame@h\"]\n",
    ] {
        let (_directory, path) = file(contents);
        let refused = problems(&[("config", &path)], &[]);
        let told: Vec<String> = refused.iter().map(|problem| format!("{problem} {problem:?}")).collect();
        let told = told.join("\n");
        assert!(!told.contains("sesame"), "{contents}: {told}");
    }
}

#[test]
fn a_value_without_a_secret_is_shown_whole() {
    for (name, value) in [
        ("redis-url", "redis+unix:///run/redis@1/r.sock"),
        ("docker-host", "unix:///run/user@1000/docker.sock"),
        ("jobs-stream", "runtime:jobs@blue"),
    ] {
        assert_eq!(shown(&good(&[(name, value)], &[]), name).0, value);
    }
    let loaded = good(&[("redis-url", "redis+unix:///run/redis@1/r.sock")], &[]);
    assert_eq!(loaded.settings.redis.address, Address::Unix("/run/redis@1/r.sock".into()));
    for given in ["localhost:6379", "redis-cluster://h:7000", "http://h"] {
        assert_eq!(problems(&[("redis-url", given)], &[])[0].value.as_deref(), Some(given));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_password_is_ever_shown(
        scheme in prop_oneof!["redis", "valkey", "rediss", "redis\\+unix", "redis-sentinel", "http", "unix", "tcp"],
        before in "([a-z]{0,3}:[/?#@:% a-z]{0,4})?",
        secret in "Q[A-Z]{11}",
        after in "([/?#@% a-z]{0,4}@)?(host)?(:[0-9]{0,2})?(/[0-9]?)?(\\?x=y)?",
        name in prop_oneof![Just("redis-url"), Just("redis-url"), Just("docker-host"), Just("group"), Just("slots")],
    ) {
        // What has no @ has no credentials, save in the one setting that is expected to hold some.
        let name = if after.contains('@') { name } else { "redis-url" };
        let url = format!("{scheme}://{before}{secret}{after}");
        let sources = sources(&[(name, &url)], &[]);
        // Where no @ follows, the text is a host or a path, unless a colon stands before it.
        let server = before.rsplit('@').next().unwrap_or_default();
        let is_host = !after.contains('@') && !server.contains(|letter: char| ":/?#% ".contains(letter));
        let told = match Settings::load(&sources) {
            Ok(loaded) if loaded.settings.redis.display_url.contains(&secret) => {
                prop_assert!(!after.contains('@'), "{}", loaded.settings.redis.display_url);
                String::new()
            }
            Ok(loaded) => format!("{:?} {:?} {:?}", loaded, loaded.settings.redis, loaded.resolved),
            Err(_) if is_host => String::new(),
            Err(report) => format!("{report} {report:?}"),
        };
        prop_assert!(!told.contains(&secret), "{}", told);
        let debug = format!("{sources:?}");
        prop_assert!(!debug.contains(&secret), "{}", debug);
    }
}
