/* An application in C, whose handlers change the very messages that go over the wire.
 * handlers PLUGIN PIPELINE: the element "e" of the pipeline plays or publishes until its
 * standard input ends. */
#include <gst/gst.h>
#include <gst/rtsp/rtsp.h>
#include <gst/sdp/sdp.h>
#include <stdio.h>

static gboolean
before_send (GstElement * e, GstRTSPMessage * message, gpointer data)
{
  gst_rtsp_message_add_header_by_name (message, "X-Application", "in C");
  return TRUE;
}

static void
handle_request (GstElement * e, GstRTSPMessage * request,
    GstRTSPMessage * response, gpointer data)
{
  static const char body[] = "battery: 99\r\n";
  gst_rtsp_message_add_header (response, GST_RTSP_HDR_CONTENT_TYPE,
      "text/parameters");
  gst_rtsp_message_set_body (response, (const guint8 *) body,
      sizeof (body) - 1);
}

static void
change_sdp (GstElement * e, GstSDPMessage * sdp, gpointer data)
{
  GstSDPMedia *media = (GstSDPMedia *) gst_sdp_message_get_media (sdp, 0);
  gst_sdp_media_add_attribute (media, "x-application", "in C");
}

static void
pad_added (GstElement * e, GstPad * pad, gpointer data)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  gchar *text = gst_caps_to_string (caps);
  printf ("pad %s\n", text);
  fflush (stdout);
  g_free (text);
  gst_caps_unref (caps);
}

static void
connect (GstElement * e, const char *name, GCallback handler)
{
  if (g_signal_lookup (name, G_OBJECT_TYPE (e)))
    g_signal_connect (e, name, handler, NULL);
}

int
main (int argc, char **argv)
{
  GError *error = NULL;
  gst_init (NULL, NULL);
  if (argc != 3 || !gst_plugin_load_file (argv[1], &error))
    return 1;
  GstElement *pipeline = gst_parse_launch (argv[2], &error);
  if (!pipeline || error)
    return 2;
  GstElement *e = gst_bin_get_by_name (GST_BIN (pipeline), "e");
  connect (e, "before-send", G_CALLBACK (before_send));
  connect (e, "handle-request", G_CALLBACK (handle_request));
  connect (e, "on-sdp", G_CALLBACK (change_sdp));
  connect (e, "update-sdp", G_CALLBACK (change_sdp));
  connect (e, "pad-added", G_CALLBACK (pad_added));
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (getchar () != EOF);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (e);
  gst_object_unref (pipeline);
  return 0;
}
