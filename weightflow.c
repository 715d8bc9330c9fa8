/* For projects that prefer to compile a file: this is all there is to it. */
#define WEIGHTFLOW_IMPLEMENTATION
#include "weightflow.h"
