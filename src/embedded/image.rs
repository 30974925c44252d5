//! This program as a container image: one static file and nothing else.

use std::io;

/// The path of the program in the image.
pub(crate) const PROGRAM: &str = "startjobs";

const BLOCK: usize = 512;
/// The kind of program header that names an interpreter, the dynamic loader.
const PT_INTERP: usize = 3;

/// The bytes of the running program, even if its file has been replaced meanwhile.
pub(crate) fn own_program() -> io::Result<Vec<u8>> {
    std::fs::read("/proc/self/exe")
}

/// Does this ELF file run without an interpreter, and so without any shared library beside it?
pub(crate) fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, length: usize| -> Option<usize> {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(elf.get(at..at.checked_add(length)?)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    // 64 bit, little endian: every platform that Docker and this program share.
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    (0..count).all(|row| {
        let kind = size.checked_mul(row).and_then(|offset| table.checked_add(offset)).and_then(|at| number(at, 4));
        kind.is_some_and(|kind| kind != PT_INTERP)
    })
}

/// A tar archive that holds the program as its one, executable file.
pub(crate) fn archive(program: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, PROGRAM);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", program.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = program.len().next_multiple_of(BLOCK) - program.len();
    // Two empty blocks end an archive.
    [&header[..], program, &vec![0; padding + 2 * BLOCK]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit file with program headers of these kinds.
    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56 * kinds.len()];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(kinds.len()).expect("a few");
        for (row, &kind) in kinds.iter().enumerate() {
            file[64 + 56 * row] = kind;
        }
        file
    }

    #[test]
    fn only_a_whole_file_without_an_interpreter_is_static() {
        assert!(is_static(&elf(&[1, 2, 6])));
        assert!(!is_static(&elf(&[6, 3, 1])));
        assert!(!is_static(&elf(&[1, 1])[..100]));
        assert!(!is_static(b"#!/bin/sh"));
        assert!(!is_static(b""));
    }

    #[test]
    fn tar_reads_the_archive() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("a.tar");
        std::fs::write(&file, archive(&[7; 1_000])).expect("it can be written");
        let run = |arguments: &[&str]| {
            let mut tar = std::process::Command::new("tar");
            let output = tar.args(arguments).arg("-f").arg(&file).output().expect("tar is installed");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let listed = String::from_utf8(run(&["-tv"])).expect("a listing is text");
        assert!(listed.starts_with("-rwxr-xr-x 0/0") && listed.trim_end().ends_with(PROGRAM), "{listed}");
        assert_eq!(run(&["-xO"]), [7; 1_000]);
    }
}
