use std::sync::Arc;

use state::{Artefact, Artefacts, Slice};

use super::{HARD_TEXTS, at, race};

const MIB: usize = 1024 * 1024;

/// What every [`Artefacts`] must do.
///
/// Panics: where it does not.
pub async fn artefacts(store: &Arc<dyn Artefacts>) {
    slices_at_every_edge(store.as_ref()).await;
    reads_only_for_its_principal_and_in_time(store.as_ref()).await;
    keeps_what_is_small_or_odd(store.as_ref()).await;
    forgets_what_expired_and_then_the_oldest(store.as_ref()).await;
    reads_whole_or_not_at_all_while_pruned(store).await;
}

fn artefact(handle: &str, content: Vec<u8>, created_ms: i64) -> Artefact {
    Artefact {
        handle: handle.to_owned(),
        principal: "alice".to_owned(),
        tool: "sql_query".to_owned(),
        content,
        created_at: at(created_ms),
        expires_at: at(created_ms + 60_000),
    }
}

/// So many bytes, of which every stretch is another one: a shift by a byte or a piece shows.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}

async fn put(store: &dyn Artefacts, artefact: &Artefact) {
    store.put(artefact).await.expect("keeps it");
}

async fn read(store: &dyn Artefacts, handle: &str, offset: u64, bytes_max: u64) -> Option<Slice> {
    store.read(handle, "alice", offset, bytes_max, at(0)).await.expect("reads")
}

async fn slices_at_every_edge(store: &dyn Artefacts) {
    let whole = bytes(MIB);
    put(store, &artefact("art_1", whole.clone(), 0)).await;
    let (mib, piece) = (MIB as u64, 65_536_u64);
    for (offset, bytes_max) in [
        (0, 0),
        (0, 1),
        (0, piece - 1),
        (0, piece),
        (0, piece + 1),
        (0, mib - 1),
        (0, mib),
        (0, mib + 1),
        (0, u64::MAX),
        (1, piece),
        (1, u64::MAX),
        (piece - 1, 1),
        (piece - 1, 2),
        (piece, 0),
        (piece, 1),
        (piece, piece),
        (3 * piece - 7, 5 * piece + 14),
        (mib - 1, 1),
        (mib - 1, 2),
        (mib, 0),
        (mib, 1),
        (mib + 1, 1),
        (u64::MAX - 1, 1),
        (u64::MAX, u64::MAX),
    ] {
        let clamp = |at: u64| usize::try_from(at).unwrap_or(MIB).min(MIB);
        let expected = &whole[clamp(offset)..clamp(offset.saturating_add(bytes_max))];
        let slice = read(store, "art_1", offset, bytes_max).await.expect("it is there");
        assert!(slice.bytes == expected, "from {offset}, {bytes_max} at most: got {}", slice.bytes.len());
        assert_eq!(slice.total_bytes, mib);
    }
}

async fn reads_only_for_its_principal_and_in_time(store: &dyn Artefacts) {
    put(store, &artefact("art_2", b"secret of alice".to_vec(), 0)).await;
    for (handle, principal, now_ms, found) in [
        ("art_2", "alice", 59_999, true),
        ("art_2", "alice", 60_000, false),
        ("art_2", "bob", 0, false),
        ("art_2", "", 0, false),
        ("art_2", "ALICE", 0, false),
        ("art_3", "alice", 0, false),
        ("", "alice", 0, false),
        ("art_%", "alice", 0, false),
    ] {
        let slice = store.read(handle, principal, 0, 100, at(now_ms)).await.expect("reads");
        assert_eq!(slice.is_some(), found, "{handle} for {principal} at {now_ms}");
    }
    let twin = Artefact { principal: "bob".to_owned(), ..artefact("art_2", b"of bob".to_vec(), 0) };
    store.put(&twin).await.expect_err("the handle is taken");
    let slice = read(store, "art_2", 0, 100).await.expect("it is there");
    assert_eq!(slice.bytes, b"secret of alice", "it is as it was");
}

async fn keeps_what_is_small_or_odd(store: &dyn Artefacts) {
    put(store, &artefact("art_empty", Vec::new(), 0)).await;
    for (offset, bytes_max) in [(0, 0), (0, 10), (1, 10)] {
        let slice = read(store, "art_empty", offset, bytes_max).await;
        assert_eq!(slice, Some(Slice { bytes: Vec::new(), total_bytes: 0 }));
    }
    let all_bytes: Vec<u8> = (0..=255).collect();
    put(store, &artefact("art_binary", all_bytes.clone(), 0)).await;
    assert_eq!(read(store, "art_binary", 0, 256).await.map(|slice| slice.bytes), Some(all_bytes));
    for (number, text) in HARD_TEXTS.iter().enumerate() {
        let handle = format!("art_{number} {text}");
        let hard = artefact(&handle, text.as_bytes().to_vec(), 0);
        let hard = Artefact { principal: (*text).to_owned(), tool: (*text).to_owned(), ..hard };
        put(store, &hard).await;
        let slice = store.read(&handle, text, 0, 1_000, at(0)).await.expect("reads").expect("it is there");
        assert_eq!(slice.bytes, text.as_bytes());
    }
}

async fn forgets_what_expired_and_then_the_oldest(store: &dyn Artefacts) {
    store.prune(at(60_000), u64::MAX).await.expect("prunes");
    assert_eq!(store.prune(at(60_000), 0).await.expect("prunes"), 0, "nothing is left to forget");
    // Put in another order than made; 300 bytes each, the last two at the same moment.
    for (handle, created_ms) in
        [("c", 102_000), ("a", 100_000), ("b", 101_000), ("d", 103_000), ("e", 103_000)]
    {
        put(store, &artefact(handle, bytes(300), created_ms)).await;
    }
    for (now_ms, bytes_max, forgotten, left) in [
        (159_999, 1_500, 0, "abcde"),
        (160_000, 1_500, 1, "bcde"),
        (160_000, 1_199, 1, "cde"),
        (160_000, 900, 0, "cde"),
        (160_000, 300, 2, "e"),
        (160_000, 299, 1, ""),
    ] {
        let pruned = store.prune(at(now_ms), bytes_max).await.expect("prunes");
        let mut there = String::new();
        for handle in ["a", "b", "c", "d", "e"] {
            there.push_str(if read(store, handle, 0, 1).await.is_some() { handle } else { "" });
        }
        assert_eq!((pruned, there.as_str()), (forgotten, left), "at {now_ms}, {bytes_max} bytes");
    }
    put(store, &artefact("a", b"again".to_vec(), 0)).await;
    assert_eq!(read(store, "a", 0, 99).await.map(|slice| slice.bytes), Some(b"again".to_vec()));
}

async fn reads_whole_or_not_at_all_while_pruned(store: &Arc<dyn Artefacts>) {
    let whole = bytes(200_000);
    put(store.as_ref(), &artefact("art_raced", whole.clone(), 0)).await;
    let slices = race(20, |racer| {
        let store = Arc::clone(store);
        async move {
            if racer == 10 {
                store.prune(at(0), 0).await.expect("prunes");
            }
            read(store.as_ref(), "art_raced", 0, u64::MAX).await
        }
    })
    .await;
    assert!(slices.iter().flatten().all(|slice| slice.bytes == whole));
    assert_eq!(read(store.as_ref(), "art_raced", 0, 1).await, None);
}
