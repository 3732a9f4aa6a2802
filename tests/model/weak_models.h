/* weak_models.h - what there is to explore, by its name on the command line of weak_order.  How many cases failed. */
#ifndef BROOD_TESTS_MODEL_WEAK_MODELS_H
#define BROOD_TESTS_MODEL_WEAK_MODELS_H

int weak_litmus(void);
int weak_ring(void);
int weak_lane(void);
int weak_range(void);
int weak_parker(void);

#endif
