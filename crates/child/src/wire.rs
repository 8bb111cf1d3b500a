//! How an order and the pipes of a program get to a keeper: over a Unix socket, as unix(7) has it.

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::order::{Order, Word};

/// The largest order, in bytes: a command line and an environment are no longer (execve(2)).
const ORDER_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Standard input, output and error of a program, as it is to have them.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Sends the pipes of a program: the first thing on a socket, and nothing that would have to wait.
pub(crate) fn send_pipes(socket: &UnixStream, pipes: &Pipes) -> io::Result<()> {
    let fds: [BorrowedFd<'_>; 3] = [pipes.stdin.as_fd(), pipes.stdout.as_fd(), pipes.stderr.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("three files do not fit a message"));
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// An order as it goes over the socket, after the pipes.
pub(crate) fn packed(order: &Order) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(order)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= ORDER_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("its command line and environment are too long"))?;
    Ok([&length.to_be_bytes()[..], &text].concat())
}

/// Sends all of it.
pub(crate) fn send(mut socket: &UnixStream, order: &Order, pipes: &Pipes) -> io::Result<()> {
    send_pipes(socket, pipes)?;
    socket.write_all(&packed(order)?)
}

/// Receives all of it.
pub(crate) fn receive(mut socket: &UnixStream) -> io::Result<(Order, Pipes)> {
    let pipes = receive_pipes(socket)?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > ORDER_BYTES_MAX {
        return Err(io::Error::other("the order is too long"));
    }
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text)?;
    Ok((serde_json::from_slice(&text)?, pipes))
}

fn receive_pipes(socket: &UnixStream) -> io::Result<Pipes> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let mut fds = fds.flatten();
    let mut next = || fds.next().ok_or_else(|| io::Error::other("a pipe of the program is missing"));
    Ok(Pipes { stdin: next()?, stdout: next()?, stderr: next()? })
}

/// Says something to whoever gave the order. Where nobody listens any more, nothing is lost.
pub(crate) fn say(mut socket: &UnixStream, word: &Word) {
    let mut line = serde_json::to_vec(word).unwrap_or_default();
    line.push(b'\n');
    let _ = socket.write_all(&line);
}
