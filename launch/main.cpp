#include "launch/program.h"

#include "jobs/job_list.h"

int main(int argc, char** argv) {
  return gradwire::run_program(argc, argv, gradwire::all_jobs());
}
