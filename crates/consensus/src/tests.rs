//! What more than one file here needs to be tested: a disk that loses power, and an application.

mod cluster;
mod durable;
mod folders;
mod founded;
mod members;
mod sim_disk;
mod storage;
mod tally;

pub(crate) use sim_disk::SimDisk;
pub(crate) use tally::Tally;
