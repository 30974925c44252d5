//! Images, made here.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// An image: its manifest, and the blobs that it names.
#[derive(Debug, Clone)]
pub struct Image {
    pub(super) manifest: Arc<Vec<u8>>,
    pub(super) config: Arc<Vec<u8>>,
    pub(super) layers: Vec<Arc<Vec<u8>>>,
}

impl Image {
    /// An image of one layer without files.
    pub fn tiny() -> Self {
        // The end mark of a tar archive.
        Self::new(vec![vec![0; 1024]], &["/nothing"])
    }

    /// An image of so many layers, each with one file of so many bytes that do not compress. Another seed is another
    /// image with other layers.
    pub fn of_layers(seed: u64, layers: usize, bytes: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let layer = |number: usize, random: &mut fastrand::Rng| {
            let mut content = vec![0; bytes];
            random.fill(&mut content);
            archive_of(&format!("file-{seed}-{number}"), &content)
        };
        Self::new((0..layers).map(|number| layer(number, &mut random)).collect(), &["/nothing"])
    }

    /// An image that runs: a tar archive (see `dockerd::archive`), and what of it is started.
    pub fn of_archive(archive: Vec<u8>, entry_point: &[&str]) -> Self {
        Self::new(vec![archive], entry_point)
    }

    fn new(layers: Vec<Vec<u8>>, entry_point: &[&str]) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest_of(layer)).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": entry_point},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let part = |kind: &str, bytes: &[u8]| -> Value {
            json!({"mediaType": kind, "size": bytes.len(), "digest": digest_of(bytes)})
        };
        let layer_parts: Vec<Value> =
            layers.iter().map(|layer| part("application/vnd.docker.image.rootfs.diff.tar", layer)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": part("application/vnd.docker.container.image.v1+json", &config),
            "layers": layer_parts,
        });
        Self {
            manifest: Arc::new(manifest.to_string().into_bytes()),
            config: Arc::new(config),
            layers: layers.into_iter().map(Arc::new).collect(),
        }
    }

    /// The digest of its manifest.
    pub fn digest(&self) -> String {
        digest_of(&self.manifest)
    }
}

/// A tar archive of one file.
fn archive_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", content.len()));
    field(136, "00000000000\0");
    // The sum counts its own field as spaces.
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

pub fn digest_of(bytes: &[u8]) -> String {
    let hexadecimal: Vec<String> = digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hexadecimal.concat())
}
