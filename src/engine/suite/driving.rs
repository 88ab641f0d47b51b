//! Drives an engine on a thread of its own, so that many threads of a test can send requests.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::api::Reply;
use crate::engine::{Engine, Exchange};
use crate::sync::Wake;
use crate::values::usage::Traffic;

enum Order {
    Send(Exchange, Sender<(Reply, Traffic)>),
    Shed(Sender<()>),
}

pub(crate) struct Driving {
    orders: Option<Mutex<Sender<Order>>>,
    waker: Arc<dyn Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Driving {
    pub(crate) fn new(mut engine: impl Engine + 'static) -> Self {
        let (orders, taken) = mpsc::channel();
        let waker = engine.waker();
        let drive = move || {
            let mut open: Vec<Option<Sender<(Reply, Traffic)>>> = Vec::new();
            let mut completed = Vec::new();
            loop {
                loop {
                    match taken.try_recv() {
                        Ok(Order::Send(mut exchange, reply)) => {
                            exchange.id = open.len() as u64;
                            open.push(Some(reply));
                            engine.submit(exchange);
                        }
                        Ok(Order::Shed(done)) => {
                            engine.shed_idle_connections();
                            done.send(()).unwrap();
                        }
                        Err(mpsc::TryRecvError::Empty) => break,
                        Err(mpsc::TryRecvError::Disconnected) => return,
                    }
                }
                engine.wait(None, &mut completed);
                for completion in completed.drain(..) {
                    let reply = open[usize::try_from(completion.id).unwrap()].take();
                    reply
                        .expect("an exchange completes once")
                        .send((completion.reply, completion.usage.traffic))
                        .unwrap();
                }
            }
        };
        let thread = Some(thread::spawn(drive));
        Driving { orders: Some(Mutex::new(orders)), waker, thread }
    }

    fn order(&self, order: Order) {
        self.orders.as_ref().unwrap().lock().unwrap().send(order).unwrap();
        self.waker.wake();
    }

    pub(crate) fn run(&self, exchange: Exchange) -> (Reply, Traffic) {
        let (reply, replied) = mpsc::channel();
        self.order(Order::Send(exchange, reply));
        replied.recv().unwrap()
    }

    pub(crate) fn shed_idle_connections(&self) {
        let (done, is_done) = mpsc::channel();
        self.order(Order::Shed(done));
        is_done.recv().unwrap();
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.waker.wake();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}
