#include "os/role.h"

enum process_role brood__role = ROLE_PROGRAM;
