#include "family_f4_f7.h"
