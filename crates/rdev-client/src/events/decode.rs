//! From the bytes of a connection to blocks of an event stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use sse_stream::{Sse, SseByteStream};

/// Most bytes that may come without a whole block: the largest line of output is far smaller.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Error of a block that has no end.
#[derive(Debug, thiserror::Error)]
#[error("an event is larger than {BLOCK_BYTES_MAX} bytes")]
struct BlockTooLarge;

#[derive(Debug, thiserror::Error)]
enum BodyError<E> {
    #[error(transparent)]
    TooLarge(BlockTooLarge),
    #[error(transparent)]
    Body(E),
}

/// Blocks of one connection.
pub(super) struct Blocks {
    blocks: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    /// Bytes since the last whole block.
    pending: Arc<AtomicUsize>,
}

impl Blocks {
    /// Decodes a body as it comes.
    pub(super) fn of<E>(body: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let pending = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&pending);
        let bounded = body.map(move |bytes| {
            let bytes = bytes.map_err(BodyError::Body)?;
            let before = counter.fetch_add(bytes.len(), Ordering::Relaxed);
            if before > BLOCK_BYTES_MAX { Err(BodyError::TooLarge(BlockTooLarge)) } else { Ok(bytes) }
        });
        Self { blocks: SseByteStream::new(bounded).boxed(), pending }
    }

    /// Returns the next block; `None` at the end of the body. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Sse, sse_stream::Error>> {
        let block = self.blocks.next().await;
        self.pending.store(0, Ordering::Relaxed);
        block
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::iter;

    use super::*;

    /// Decodes a text that comes in pieces of `size` bytes.
    async fn decoded(text: &[u8], size: usize) -> Vec<Sse> {
        let pieces: Vec<_> =
            text.chunks(size).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
        let mut blocks = Blocks::of(iter(pieces));
        let mut decoded = Vec::new();
        while let Some(block) = blocks.next().await {
            decoded.push(block.unwrap());
        }
        decoded
    }

    #[tokio::test]
    async fn a_stream_is_the_same_wherever_its_bytes_are_cut() {
        let lines = "retry: 1000\n\nid: 1\nevent: output\ndata: {\"line\":\"ä🦀\"}\n\n: a comment\n\n\
                     id:2\nevent:error\ndata:one\ndata: two\ndata\n\nevent: heartbeat\ndata: {}\n\nid: 9\ndata: cut";
        let expected = [
            Sse::default().retry(1000),
            Sse::default().id("1").event("output").data("{\"line\":\"ä🦀\"}"),
            Sse::default().id("2").event("error").data("one\ntwo\n"),
            Sse::default().event("heartbeat").data("{}"),
        ];
        for ending in ["\n", "\r", "\r\n"] {
            for start in ["", "\u{feff}"] {
                let text = format!("{start}{}", lines.replace('\n', ending));
                for size in 1..=text.len() {
                    assert_eq!(decoded(text.as_bytes(), size).await, expected, "{ending:?} {start:?} {size}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_field_of_a_block_is_passed_over() {
        let text = b"retry: soon\nid: a\0b\nunknown: x\nevent: output\ndata: {}\n\n";
        assert_eq!(decoded(text, text.len()).await, [Sse::default().event("output").data("{}")]);
    }

    #[tokio::test]
    async fn a_block_without_an_end_is_refused() {
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        let endless = iter(std::iter::repeat_with(move || Ok::<_, Infallible>(piece.clone())));
        let error = Blocks::of(endless).next().await.unwrap().unwrap_err();
        let sse_stream::Error::Body(cause) = error else { panic!("{error}") };
        assert!(cause.to_string().contains("larger than 4194304 bytes"), "{cause}");
    }
}
