/* Before the implementation: leave out the methods that a test does not name by WF_KEEP_..., which halves the time to compile. */
#ifndef WF_CORE_H
#define WF_CORE_H
#ifndef WF_KEEP_WEIGHTFLOW
#define WF_NO_WEIGHTFLOW
#endif
#ifndef WF_KEEP_FLOWS
#define WF_NO_FLOWS
#endif
#ifndef WF_KEEP_CONSERVATION
#define WF_NO_CONSERVATION
#endif
#ifndef WF_KEEP_PATHS
#define WF_NO_PATHS
#endif
#ifndef WF_KEEP_PARTICLES
#define WF_NO_PARTICLES
#endif
#ifndef WF_KEEP_BRIDGES
#define WF_NO_BRIDGES
#endif
#endif
