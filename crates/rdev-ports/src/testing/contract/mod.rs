//! Promises of the ports that a store implements, one function a promise and one suite a port.
//!
//! Each suite asks of a store only the ports that its promises are told with. To test a store: call the macro of each
//! port that it implements, such as [`queue_contract!`](crate::queue_contract). The calling crate needs tokio, with its
//! macros and the multi-threaded runtime.

pub mod answers;
pub mod artefacts;
pub mod figures;
pub mod followers;
pub mod leases;
pub mod log;
pub mod operations;
pub mod periodic;
pub mod pool;
pub mod queue;
pub mod retention;
mod steps;

/// Makes a test of each of these promises of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($suite:ident, $fresh:path; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _guard) = $fresh().await;
                $crate::testing::contract::$suite::$promise(&store)
                    .await
                    .expect("the store does what it is asked for");
            }
        )*
    };
}
