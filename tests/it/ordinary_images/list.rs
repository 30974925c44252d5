//! Ten ordinary images: how each is made of a package of Debian, and what its server answers.

use super::rootfs::Rootfs;

/// One image.
#[derive(Clone, Copy)]
pub(super) struct Ordinary {
    /// Of its image and its container.
    pub(super) name: &'static str,
    /// The package of what may be missing on this machine.
    pub(super) package: &'static str,
    /// Where its server listens.
    pub(super) port: u16,
    /// Lines of its Dockerfile.
    pub(super) changes: &'static [&'static str],
    /// Puts it together; `Err`: what this machine does not have.
    pub(super) make: fn(&Rootfs) -> Result<(), &'static str>,
    /// What is sent to its server.
    pub(super) asks: &'static [u8],
    /// What is in the server's answer.
    pub(super) answers: &'static [u8],
    /// Whether it starts as root and needs rights that root has.
    pub(super) needs_capabilities: bool,
}

const GET: &[u8] = b"GET / HTTP/1.0\r\nHost: game\r\n\r\n";
/// Of a client that the game server does not let play; its refusal is compressed.
const JOIN_FREECIV: &[u8] = b"\x00\x1b\x04probe\0none\0\0\0\0\0\x03\0\0\0\0\0\0\0\x06";

/// Web servers, proxies, databases, a game server, a login server, and what interpreters bring.
pub(super) const LIST: [Ordinary; 10] = [
    Ordinary {
        name: "nginx",
        package: "nginx-light",
        port: 80,
        changes: &[r#"ENTRYPOINT ["/usr/bin/nginx", "-c", "/etc/nginx.conf"]"#, "EXPOSE 80"],
        make: |rootfs| {
            let conf = "daemon off; user www-data; worker_processes 1; pid /run/nginx.pid; error_log stderr;\n\
                        events { worker_connections 64; }\n\
                        http { access_log off; server { listen 80; location / { return 200 \"from nginx\"; } } }\n";
            rootfs.program("nginx")?.file("etc/nginx.conf", conf).directory("var/lib/nginx", 0o755);
            rootfs.directory("var/log/nginx", 0o755);
            Ok(())
        },
        asks: GET,
        answers: b"from nginx",
        needs_capabilities: true,
    },
    Ordinary {
        name: "redis",
        package: "redis-server",
        port: 6379,
        changes: &[r#"ENTRYPOINT ["/entrypoint.sh", "redis-server"]"#, "EXPOSE 6379", "WORKDIR /data"],
        make: |rootfs| {
            // As that of the official image.
            let script = "#!/bin/sh\nset -e\nif [ \"$1\" = redis-server ] && [ \"$(id -u)\" = 0 ]; then\n\
                          find . ! -user server -exec chown server '{}' +\n\
                          exec /usr/bin/setpriv --reuid=server --regid=server --clear-groups -- \"$0\" \"$@\"\nfi\n\
                          exec \"$@\" --bind 0.0.0.0 --protected-mode no --save '' --appendonly yes\n";
            rootfs.busybox()?.program("redis-server")?.program("setpriv")?.script("entrypoint.sh", script);
            rootfs.directory("data", 0o755).file("data/of-root", "");
            Ok(())
        },
        asks: b"SET game running\r\nGET game\r\n",
        answers: b"running",
        needs_capabilities: true,
    },
    Ordinary {
        name: "freeciv",
        package: "freeciv-server",
        port: 5556,
        changes: &[r#"ENTRYPOINT ["/usr/bin/freeciv-server", "--Announce", "none"]"#, "USER games", "ENV HOME=/tmp"],
        make: |rootfs| {
            rootfs.program("freeciv-server")?.tree("/usr/share/games/freeciv/nation")?;
            rootfs.tree("/usr/share/games/freeciv/civ2civ3")?.tree("/usr/share/games/freeciv/default")?;
            rootfs.tree("/usr/share/games/freeciv/override")?;
            Ok(())
        },
        asks: JOIN_FREECIV,
        answers: b"x\x9c",
        needs_capabilities: false,
    },
    Ordinary {
        name: "lighttpd",
        package: "lighttpd",
        port: 80,
        changes: &[r#"ENTRYPOINT ["/usr/bin/lighttpd", "-D", "-f", "/etc/lighttpd.conf"]"#, "EXPOSE 80"],
        make: |rootfs| {
            let conf = "server.port = 80\nserver.username = \"www-data\"\nserver.groupname = \"www-data\"\n\
                        server.document-root = \"/var/www\"\nindex-file.names = ( \"index.html\" )\n";
            rootfs.program("lighttpd")?.tree("/usr/lib/lighttpd")?.file("etc/lighttpd.conf", conf);
            rootfs.file("var/www/index.html", "from lighttpd");
            Ok(())
        },
        asks: GET,
        answers: b"from lighttpd",
        needs_capabilities: true,
    },
    Ordinary {
        name: "haproxy",
        package: "haproxy",
        port: 80,
        changes: &[r#"ENTRYPOINT ["/usr/bin/haproxy", "-W", "-db", "-f", "/etc/haproxy.cfg"]"#, "EXPOSE 80"],
        make: |rootfs| {
            let conf = "global\n  user server\n  group server\n  maxconn 100\n\
                        defaults\n  mode http\n  timeout client 5s\n  timeout connect 5s\n  timeout server 5s\n\
                        frontend all\n  bind :80\n  http-request return status 200 string from-haproxy content-type text/plain\n";
            rootfs.program("haproxy")?.file("etc/haproxy.cfg", conf);
            Ok(())
        },
        asks: GET,
        answers: b"from-haproxy",
        needs_capabilities: true,
    },
    Ordinary {
        name: "memcached",
        package: "memcached",
        port: 11211,
        changes: &[r#"ENTRYPOINT ["/usr/bin/memcached", "-u", "server", "-m", "16"]"#, "EXPOSE 11211"],
        make: |rootfs| rootfs.program("memcached").map(drop),
        asks: b"version\r\n",
        answers: b"VERSION 1.",
        needs_capabilities: true,
    },
    Ordinary {
        name: "dropbear",
        package: "dropbear-bin",
        port: 22,
        changes: &[r#"ENTRYPOINT ["/usr/bin/dropbear", "-F", "-E", "-R", "-p", "22"]"#, "EXPOSE 22"],
        make: |rootfs| {
            rootfs.program("dropbear")?.directory("etc/dropbear", 0o700);
            Ok(())
        },
        asks: b"SSH-2.0-probe\r\n",
        answers: b"SSH-2.0-dropbear",
        needs_capabilities: false,
    },
    Ordinary {
        name: "busybox",
        package: "busybox-static",
        port: 80,
        changes: &[
            r#"ENTRYPOINT ["/usr/bin/busybox", "httpd", "-f", "-p", "80", "-u", "33:33", "-h", "/var/www"]"#,
            "EXPOSE 80",
        ],
        make: |rootfs| {
            rootfs.busybox()?.file("var/www/index.html", "from busybox");
            Ok(())
        },
        asks: GET,
        answers: b"from busybox",
        needs_capabilities: true,
    },
    Ordinary {
        name: "python",
        package: "python3-minimal",
        port: 8000,
        changes: &[r#"ENTRYPOINT ["/usr/bin/python3", "-m", "http.server", "8000"]"#, "USER player", "WORKDIR /srv"],
        make: |rootfs| {
            rootfs.program("python3")?.file("srv/index.html", "from python");
            super::python_library(rootfs)
        },
        asks: GET,
        answers: b"from python",
        needs_capabilities: false,
    },
    Ordinary {
        name: "node",
        package: "nodejs",
        port: 3000,
        changes: &[r#"ENTRYPOINT ["/usr/bin/node", "/server.js"]"#, "USER 1000:1000", "EXPOSE 3000"],
        make: |rootfs| {
            let script = "require('http').createServer((_, answer) => answer.end('from node')).listen(3000)\n";
            rootfs.program("node")?.file("server.js", script);
            Ok(())
        },
        asks: GET,
        answers: b"from node",
        needs_capabilities: false,
    },
];
