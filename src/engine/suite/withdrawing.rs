//! Withdraws exchanges from an engine that can run only one at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::api::Reply;
use crate::engine::{Engine, Exchange};

/// Submits copies of `exchange` with the ids 1 to 4 while another one, of the id 0, is under way. Withdraws all but the
/// copy of the id 2, and then calls `release`, after which the server answers. Returns the replies by id.
pub(crate) fn replies_if_withdrawn(
    engine: &mut dyn Engine,
    exchange: &Exchange,
    release: impl FnOnce(),
) -> HashMap<u64, Reply> {
    let (mut completed, mut replies) = (Vec::new(), HashMap::new());
    for id in 1..=4 {
        engine.submit(Exchange { id, request: Arc::clone(&exchange.request), ..exchange.clone() });
    }
    engine.withdraw(&|id| id == 4);
    engine.wait(Some(Instant::now()), &mut completed);
    assert_eq!(completed.iter().map(|completion| completion.id).collect::<Vec<_>>(), [4]);
    engine.withdraw(&|id| id != 2);
    engine.wait(Some(Instant::now()), &mut completed);
    assert!(completed.iter().all(|completion| ![0, 2].contains(&completion.id)));
    release();
    while completed.len() < 5 {
        engine.withdraw(&|id| id != 2);
        engine.wait(None, &mut completed);
    }
    engine.wait(Some(Instant::now()), &mut completed);
    for completion in completed {
        assert!(replies.insert(completion.id, completion.reply).is_none(), "an exchange completes once");
    }
    replies
}
