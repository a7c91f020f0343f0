#include "launch/cli.h"

int main(int argc, char** argv) {
  return gradwire::run_program(argc, argv);
}
