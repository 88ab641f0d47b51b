//! Floor 3: many operations over one driver, a bounded number at a time.

use std::sync::Arc;

use crate::client::cancel::Cancel;
use crate::client::driver::Driver;
use crate::client::invocation::Invocation;
use crate::client::operations::Ended;
use crate::values::error::Error;
use crate::values::report::{Operation, Report};

/// Iterator over the results of one operation for each of many groups. `T` is the result of the single call: a
/// [`Report`], or a [`Deletion`](crate::Deletion).
///
/// * At most [`in_flight`](crate::ClientBuilder::in_flight) operations run at once. At most twice that number have been
///   taken from the input and not been returned. This bounds the memory, however long the input is. See also
///   [`read_ahead`](crate::OperationOptions::read_ahead).
/// * Results come in the order in which the operations end. [`Completed::position`] is the place in the input. The
///   failure of one group affects no other.
/// * Work begins with the first call of `next`, and continues between calls, up to these bounds.
/// * Results that are ready are returned before more of the input is taken. If the input blocks, no result is
///   returned. A program that feeds a channel must therefore not wait for a result before it sends the next id.
/// * An id that comes twice is two operations. The second finds the group busy, or finds the result of the first.
/// * Dropping the iterator cancels the operations that have not ended, and blocks until they end. Creates are rolled
///   back.
/// * An [`Observer`](crate::Observer) may drive or drop the bulk that it observes. A logger or a journal must
///   not do so during a request or a journal call of that bulk: it would deadlock.
///
/// ```no_run
/// use cluster_client::ClusterClient;
///
/// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
/// for done in client.create_groups(["a", "b", "c"]) {
///     match done.result {
///         Ok(_) => println!("{} is on every host", done.id),
///         Err(error) => println!("{}: {error}", done.id),
///     }
/// }
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[must_use = "nothing happens before the iterator is driven"]
pub struct Bulk<I, T = Report> {
    invocation: Invocation,
    operation: Operation,
    groups: std::iter::Enumerate<I>,
    driver: Arc<Driver>,
    /// Keeps the driver on the list of the call's cancel token.
    watched: Option<Arc<dyn Cancel>>,
    /// Operations in the driver whose result was not returned.
    open: usize,
    exhausted: bool,
    conclude: fn(Report) -> Result<T, Error>,
}

/// The result of one of many operations.
///
/// ```
/// use cluster_client::{Completed, GroupId, Operation, Outcome, Report};
///
/// let report = Report::new(GroupId::parse("payments")?, Operation::Create, Outcome::Created);
/// let done = Completed::new(0, "payments", Operation::Create, Ok(report));
/// assert_eq!((done.position, done.id.as_str(), done.result.is_ok()), (0, "payments", true));
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Completed<T = Report> {
    /// The place of the id in the input, from 0.
    pub position: usize,
    /// The id, unchanged.
    pub id: String,
    /// The operation. It is equal for all items of a bulk.
    pub operation: Operation,
    /// The result, equal to that of the single call.
    pub result: Result<T, Error>,
}

impl<T> Completed<T> {
    /// Creates a result, for your own tests.
    pub fn new(position: usize, id: impl Into<String>, operation: Operation, result: Result<T, Error>) -> Self {
        Completed { position, id: id.into(), operation, result }
    }
}

impl<I, T> std::fmt::Debug for Bulk<I, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bulk")
            .field("operation", &self.operation)
            .field("open", &self.open)
            .field("cancellable", &self.watched.is_some())
            .finish_non_exhaustive()
    }
}

impl<I, T> Bulk<I, T>
where
    I: Iterator,
    I::Item: AsRef<str>,
{
    pub(crate) fn new(
        invocation: Invocation,
        operation: Operation,
        groups: I,
        conclude: fn(Report) -> Result<T, Error>,
    ) -> Self {
        let driver = Driver::new(invocation.client(), invocation.client().in_flight, false, invocation.headers());
        let watched = invocation.watch(&driver);
        Bulk { invocation, operation, groups: groups.enumerate(), driver, watched, open: 0, exhausted: false, conclude }
    }

    /// Takes the next id from the input and adds its operation. Returns a result at once if the id is refused.
    fn take_one(&mut self) -> Option<Completed<T>> {
        let Some((position, id)) = self.groups.next() else {
            self.exhausted = true;
            return None;
        };
        let id = id.as_ref();
        let checked = self.invocation.client().api.named(id).and_then(|group| {
            self.invocation.check(self.operation, &group)?;
            Ok(group)
        });
        match checked {
            Err(error) => Some(Completed::new(position, id, self.operation, Err(error.into()))),
            Ok(group) => {
                self.driver.add(position, self.invocation.machine(self.operation, group));
                self.open += 1;
                None
            }
        }
    }

    /// Returns an operation that has ended. Blocks only if no more may be taken from the input, which may block too.
    fn ended(&mut self) -> Option<Ended> {
        let in_flight = self.invocation.client().in_flight;
        let enough = if self.invocation.reads_ahead() { 2 * in_flight } else { in_flight };
        let may_take = !self.exhausted && self.open < enough;
        match self.driver.try_take() {
            None if self.open > 0 && !may_take => Some(self.driver.take()),
            ended => ended,
        }
    }
}

impl<I, T> Iterator for Bulk<I, T>
where
    I: Iterator,
    I::Item: AsRef<str>,
{
    type Item = Completed<T>;

    fn next(&mut self) -> Option<Completed<T>> {
        loop {
            if let Some((position, report)) = self.ended() {
                self.open -= 1;
                let id = report.group.as_str().to_owned();
                return Some(Completed::new(position, id, self.operation, (self.conclude)(report)));
            }
            if self.exhausted {
                return None;
            }
            if let Some(refused) = self.take_one() {
                return Some(refused);
            }
        }
    }
}

impl<I, T> Drop for Bulk<I, T> {
    fn drop(&mut self) {
        self.driver.abandon(self.open);
    }
}
