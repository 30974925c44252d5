//! `startjobs engine`: a game engine for demonstrations and tests, so that one static binary is worker and engine.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{exit, process};

/// Requests served at once; more wait in the kernel.
const REQUESTS_MAX: usize = 64;
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Answer HTTP on $PORT as a game engine would; exit with $ENGINE_EXIT_CODE if it is set
///
/// Hidden: it is no part of running a fleet.
#[derive(Debug, Args)]
pub(super) struct EngineArgs {}

/// Runs it.
pub(super) fn run() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.trim().parse::<u16>().ok());
    if let Some(code) = number("ENGINE_EXIT_CODE") {
        eprintln!("engine: exiting with code {code}, as ENGINE_EXIT_CODE says");
        return ExitCode::from(u8::try_from(code).unwrap_or(exit::FAILED));
    }
    let game = std::env::var("GAME_ID").unwrap_or_default();
    process::block_on(serve(number("PORT").unwrap_or(8080), game))
}

async fn serve(port: u16, game: String) -> u8 {
    let (listener, mut stops) = match (TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await, process::Stops::listen())
    {
        (Ok(listener), Ok(stops)) => (listener, stops),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("engine: cannot serve on port {port}: {error}");
            return exit::FAILED;
        }
    };
    println!("engine: game {game:?} on port {port}");
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(REQUESTS_MAX));
    loop {
        tokio::select! {
            _ = stops.next() => return exit::DONE,
            Ok((stream, _)) = listener.accept() => {
                let Ok(permit) = std::sync::Arc::clone(&permits).acquire_owned().await else { return exit::FAILED };
                let game = game.clone();
                drop(tokio::spawn(async move {
                    // A peer that goes away mid-request is its own business.
                    drop(answer(stream, &game).await);
                    drop(permit);
                }));
            }
        }
    }
}

async fn answer(mut stream: TcpStream, game: &str) -> std::io::Result<()> {
    let mut request = vec![0; REQUEST_BYTES_MAX];
    let limit = std::time::Duration::from_secs(2);
    let read = tokio::time::timeout(limit, stream.read(&mut request)).await.map_err(std::io::Error::other)??;
    if read == 0 {
        return Ok(());
    }
    let body = format!("game {game}\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
